//! The OVF environment (DSP0243, section 11): XML whose `Property` elements have a key and a
//! value each.

use std::collections::BTreeMap;

use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::events::Event;

use super::GuestInfo;

/// The properties of an OVF environment, by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::source) struct Properties(BTreeMap<String, String>);

/// Reads an OVF environment. Elements that are no properties are passed over.
pub(in crate::source) fn properties(xml: &[u8]) -> Result<Properties, String> {
    let text = std::str::from_utf8(xml).map_err(|error| error.to_string())?;
    // The hypervisor ends it as a C string.
    let mut reader = Reader::from_str(text.trim_end_matches('\0'));
    let mut properties = BTreeMap::new();
    let mut any = false;
    loop {
        let place = reader.buffer_position();
        let wrong = |error: &dyn std::fmt::Display| format!("at byte {place}: {error}");
        match reader.read_event().map_err(|error| wrong(&error))? {
            Event::Start(element) | Event::Empty(element) => {
                any = true;
                if element.local_name().as_ref() != "Property" {
                    continue;
                }
                let (mut key, mut value) = (None, None);
                for attribute in element.attributes() {
                    let attribute = attribute.map_err(|error| wrong(&error))?;
                    let slot = match attribute.key.local_name().as_ref() {
                        "key" => &mut key,
                        "value" => &mut value,
                        _ => continue,
                    };
                    let text = attribute.normalized_value(XmlVersion::Implicit1_0);
                    *slot = Some(text.map_err(|error| wrong(&error))?.into_owned());
                }
                if let (Some(key), Some(value)) = (key, value) {
                    properties.insert(key, value);
                }
            }
            Event::Eof if any => return Ok(Properties(properties)),
            Event::Eof => return Err("no element in it".to_owned()),
            _ => {}
        }
    }
}

impl GuestInfo for Properties {
    fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, String> {
        // Keys of guestinfo are written with the prefix or without it.
        let value = self.0.get(&format!("guestinfo.{key}")).or_else(|| self.0.get(key));
        Ok(value.map(|value| value.clone().into_bytes()))
    }
}

impl Properties {
    /// The value of a key.
    pub(super) fn value(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_have_keys_and_values_in_any_namespace() {
        let xml = br#"<?xml version="1.0" encoding="UTF-8"?>
<Environment xmlns="http://schemas.dmtf.org/ovf/environment/1"
    xmlns:oe="http://schemas.dmtf.org/ovf/environment/1" oe:id="" xmlns:ve="http://www.vmware.com/schema/ovfenv">
  <PlatformSection><Kind>VMware ESXi</Kind><Locale>en</Locale></PlatformSection>
  <PropertySection>
    <Property oe:key="guestinfo.hostname" oe:value="node&amp;1"/>
    <Property key="guestinfo.coreos.config.data" value="I2Nsb3Vk"></Property>
    <Property oe:key="lonely"/>
  </PropertySection>
  <ve:EthernetAdapterSection><ve:Adapter ve:mac="00:50:56:00:00:01"/></ve:EthernetAdapterSection>
</Environment>
"#;
        let mut properties = properties(xml).unwrap();
        assert_eq!(properties.get("hostname"), Ok(Some(b"node&1".to_vec())));
        assert_eq!(properties.get("coreos.config.data"), Ok(Some(b"I2Nsb3Vk".to_vec())));
        assert_eq!(properties.get("lonely"), Ok(None));
    }

    #[test]
    fn what_is_no_environment_is_refused() {
        for xml in
            ["", "just text", "<a", "<a b='&unknown;'/><Property key='&x;' value=''/>", "\u{0}"]
        {
            assert!(properties(xml.as_bytes()).is_err(), "{xml}");
        }
        assert!(properties(b"\xff\xfe<a/>").is_err());
    }
}
