//! The bill as SPDX 2.3, in JSON.

use serde_json::{Value, json};

use super::{Bill, Item, Subject, purl, time};

/// The document.
pub(super) fn document(bill: &Bill, subject: &Subject<'_>) -> String {
    let Subject { id, name, version, suite, root_hash, epoch } = *subject;
    let image = json!({
        "SPDXID": "SPDXRef-Image",
        "name": id,
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "primaryPackagePurpose": "OPERATING-SYSTEM",
    });
    let packages = bill.packages.iter().map(|(name, item)| package(name, item, suite));
    let contained = bill.packages.keys().map(|name| {
        json!({
            "spdxElementId": "SPDXRef-Image",
            "relationshipType": "CONTAINS",
            "relatedSpdxElement": reference(name),
        })
    });
    let described = json!({
        "spdxElementId": "SPDXRef-DOCUMENT",
        "relationshipType": "DESCRIBES",
        "relatedSpdxElement": "SPDXRef-Image",
    });
    let packages: Vec<Value> = [image].into_iter().chain(packages).collect();
    let relationships: Vec<Value> = [described].into_iter().chain(contained).collect();
    let document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": format!("{name} {version}"),
        "documentNamespace": format!("https://spdx.org/spdxdocs/{id}-{version}-{root_hash}"),
        "creationInfo": { "created": time(epoch), "creators": ["Tool: image"] },
        "packages": packages,
        "relationships": relationships,
        "hasExtractedLicensingInfos": extracted(bill),
    });
    let mut text = serde_json::to_string_pretty(&document).expect("maps with string keys");
    text.push('\n');
    text
}

fn package(name: &str, item: &Item, suite: &str) -> Value {
    let licence = match item.licences.len() {
        0 => "NOASSERTION".to_owned(),
        _ => item.licences.iter().map(String::as_str).collect::<Vec<_>>().join(" AND "),
    };
    let mut package = json!({
        "SPDXID": reference(name),
        "name": name,
        "versionInfo": item.version,
        "supplier": supplier(&item.maintainer),
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "sourceInfo": format!("built from the source package {} {}", item.source, item.source_version),
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": licence,
        "copyrightText": "NOASSERTION",
        "summary": item.description,
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": purl(name, item, suite),
        }],
    });
    if !item.homepage.is_empty() {
        package["homepage"] = json!(item.homepage);
    }
    package
}

/// `Organization: name (address)`, as SPDX writes `name <address>`.
fn supplier(maintainer: &str) -> String {
    match maintainer.split_once(" <") {
        Some((name, address)) => {
            format!("Organization: {name} ({})", address.trim_end_matches('>'))
        }
        None if maintainer.is_empty() => "NOASSERTION".to_owned(),
        None => format!("Organization: {maintainer}"),
    }
}

/// An identifier, in the letters that SPDX allows.
fn reference(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '-' };
    format!("SPDXRef-Package-{}", name.replace('+', "-plus").chars().map(plain).collect::<String>())
}

/// The licences that SPDX has no name for.
fn extracted(bill: &Bill) -> Vec<Value> {
    let mut names: Vec<&str> = bill
        .packages
        .values()
        .flat_map(|item| &item.licences)
        .map(String::as_str)
        .filter(|name| name.starts_with("LicenseRef-"))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
        .iter()
        .map(|name| {
            let plain = name.trim_start_matches("LicenseRef-");
            json!({
                "licenseId": name,
                "name": plain,
                "extractedText": format!("The text is in the copyright files of the packages, under {plain}."),
            })
        })
        .collect()
}
