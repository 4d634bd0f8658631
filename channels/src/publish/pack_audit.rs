//! Every pack of a repository taken apart, as machines do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;

use super::packing::pack_source;
use super::{Repository, State};
use crate::client::Target;
use crate::offer::{Offer, Pack, Part};
use crate::payload::{Decoder, Index, PayloadError, ReadAt};
use crate::policy::Channel;

/// What is wrong with the packs, a line each. A pack that several channels have is tried once; of
/// a patch from a release that is not here any more only what can be is checked.
pub(super) fn check_packs(repository: &Repository, state: &State) -> Vec<String> {
    let mut olds: BTreeMap<(Part, String), Target> = BTreeMap::new();
    for channel in Channel::PATH {
        for offer in state.offers(channel) {
            for part in [Part::Root, Part::Uki] {
                let key = (part, pack_source(&offer, part).id);
                olds.entry(key).or_insert_with(|| target(&offer, part));
            }
        }
    }
    let mut seen = BTreeSet::new();
    let mut errors = Vec::new();
    for channel in Channel::PATH {
        for offer in state.offers(channel) {
            for pack in &offer.packs {
                if !seen.insert(pack.file.hashes.get_sha256().map(str::to_owned)) {
                    continue;
                }
                if let Err(error) = check(repository, &offer, pack, &olds) {
                    errors.push(format!("{}: {error}", pack.path));
                }
            }
        }
    }
    errors
}

fn target(offer: &Offer, part: Part) -> Target {
    Target::consistent(&offer.path(part), offer.files[&part].clone())
}

fn check(
    repository: &Repository,
    offer: &Offer,
    pack: &Pack,
    olds: &BTreeMap<(Part, String), Target>,
) -> Result<(), String> {
    let told = |error: PayloadError| error.to_string();
    let unread = |error: io::Error| error.to_string();
    let packed = [Part::Root, Part::Uki].into_iter();
    let part = packed.into_iter().find(|part| part.extension() == pack.info.part);
    let part = part.ok_or("a pack of a part that is not packed")?;
    let open = |target: &Target| File::open(repository.target_path(target));
    let file = open(&Target::consistent(&pack.path, pack.file.clone())).map_err(unread)?;
    if pack.info.index.length > pack.file.length {
        return Err("the index is longer than the pack".to_owned());
    }
    let mut bytes = vec![0; pack.info.index.length as usize];
    file.read_exact_at(0, &mut bytes).map_err(unread)?;
    let index = Index::parse(&bytes, &pack.info.index).map_err(told)?;
    if index.pack_size() != pack.file.length || index.size() != offer.files[&part].length {
        return Err("its index is of other files".to_owned());
    }
    if index.old().map(|(_, id)| hex::encode(id))
        != pack.info.from.as_ref().map(|from| from.id.clone())
    {
        return Err("its index is for another old release".to_owned());
    }
    let whole = open(&target(offer, part)).map_err(unread)?;
    let old = pack.info.from.as_ref().map(|from| olds.get(&(part, from.id.clone())));
    let old = old.flatten().map(open).transpose().map_err(unread)?;
    let mut decoder = Decoder::new();
    for number in 0..index.len() {
        let segment = index.segment(number).map_err(told)?;
        let mut record = vec![0; (segment.record.end - segment.record.start) as usize];
        file.read_exact_at(segment.record.start, &mut record).map_err(unread)?;
        let mut out = vec![0; (segment.place.end - segment.place.start) as usize];
        match (&pack.info.from, &old) {
            (None, _) => decoder.frame(&index, number, &record, &mut out).map_err(told)?,
            (_, Some(old)) => {
                decoder.patch(&index, number, &record, old, &mut out).map_err(told)?;
            }
            _ => index.check_record(number, &record).map_err(told)?,
        }
        whole.read_exact_at(segment.place.start, &mut out).map_err(unread)?;
        index.check_segment(number, &out).map_err(told)?;
    }
    Ok(())
}
