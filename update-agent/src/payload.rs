//! The forms in which a part of a release can be fetched: records of a patch, frames, and the
//! plain file that is always there.
//!
//! What comes out of a record is checked against the signed index before anybody sees it. Whatever
//! is wrong with a smaller form, the next larger one mends it, a segment at a time.

use std::ops::Range;
use std::sync::OnceLock;

use channels::client::{Target, View};
use channels::fetch::FetchError;
use channels::offer::{Offer, Pack, Part};
use channels::payload::{Decoder, Index, IndexInfo, MAX_RECORD, PayloadError, ReadAt, SEGMENT};
use disk::verity::BLOCK;

use crate::device::Region;
use crate::plan::{self, runs};
use crate::source::{PIECE, Source};

/// A pack of a part, trusted as far as its index is signed.
#[derive(Debug, Clone)]
pub struct PackRef {
    /// The file.
    pub target: Target,
    /// What is signed of its index.
    pub index: IndexInfo,
}

/// A part of a release, and the packs there are of it.
#[derive(Debug, Clone)]
pub struct Forms {
    /// The plain file.
    pub plain: Target,
    /// The patch that starts from what runs.
    pub patch: Option<PackRef>,
    /// The frames.
    pub frames: Option<PackRef>,
}

impl Forms {
    /// The forms of a part; `old` says which bytes the running one has.
    pub fn of(offer: &Offer, view: &View<'_>, part: Part, old: Option<&str>) -> Forms {
        let pack =
            |pack: &Pack| PackRef { target: pack.target(view), index: pack.info.index.clone() };
        Forms {
            plain: offer.target(view, part),
            patch: old.and_then(|old| offer.patch(part, old)).map(pack),
            frames: offer.frames(part).map(pack),
        }
    }
}

/// A pack whose index was fetched and found to be the signed one.
#[derive(Debug)]
struct OpenPack {
    address: String,
    index: Index,
}

/// The forms of a part, as they are fetched.
#[derive(Debug)]
pub struct Payload<'a> {
    source: &'a Source,
    plain: String,
    /// Bytes of the part.
    size: u64,
    patch: Option<OpenPack>,
    frames: OnceLock<Option<OpenPack>>,
    frames_ref: Option<PackRef>,
}

/// What was fetched for a segment.
#[derive(Debug)]
pub enum Fetched {
    /// The segment's record in the pack of frames.
    Frame(Vec<u8>),
    /// Runs of blocks of the segment, as they are in the image.
    Plain(Vec<(Range<u64>, Vec<u8>)>),
}

/// Why a segment could not be had in any form.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// Nothing could be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Nothing that came is what is signed.
    #[error(transparent)]
    Wrong(#[from] PayloadError),
}

impl<'a> Payload<'a> {
    /// Opens the forms of a part: fetches the index of the patch, if there is one. One that cannot
    /// be used is passed over.
    pub fn new(source: &'a Source, forms: &Forms) -> Result<Payload<'a>, FetchError> {
        let plain = address(&forms.plain)?;
        let size = forms.plain.file.length;
        let mut payload = Payload {
            source,
            plain,
            size,
            patch: None,
            frames: OnceLock::new(),
            frames_ref: forms.frames.clone(),
        };
        payload.patch = forms.patch.as_ref().and_then(|pack| payload.open(pack));
        Ok(payload)
    }

    fn open(&self, pack: &PackRef) -> Option<OpenPack> {
        let open = || -> Result<OpenPack, String> {
            let told = |error: &dyn std::error::Error| host::error::chain(error);
            let address = address(&pack.target).map_err(|error| told(&error))?;
            let length = pack.index.length.min(pack.target.file.length);
            let bytes = self.source.range(&address, &(0..length)).map_err(|e| told(&e))?;
            let index = Index::parse(&bytes, &pack.index).map_err(|error| told(&error))?;
            if index.size() != self.size {
                return Err("it is of a file of another size".to_owned());
            }
            Ok(OpenPack { address, index })
        };
        open().inspect_err(|reason| log::warn!("{} is not used: {reason}", pack.target.path)).ok()
    }

    fn frames(&self) -> Option<&OpenPack> {
        let open = || self.frames_ref.as_ref().and_then(|pack| self.open(pack));
        self.frames.get_or_init(open).as_ref()
    }

    /// The index of the patch, if it can be used.
    pub fn patch_index(&self) -> Option<&Index> {
        self.patch.as_ref().map(|pack| &pack.index)
    }

    /// Bytes of a segment.
    pub fn segment_length(&self, segment: usize) -> usize {
        let start = (segment as u64 * SEGMENT as u64).min(self.size);
        (self.size - start).min(SEGMENT as u64) as usize
    }

    /// Fetches a segment's record in the patch.
    pub fn fetch_record(&self, segment: usize) -> Result<Vec<u8>, FetchError> {
        let Some(pack) = &self.patch else {
            return Err(FetchError {
                path: self.plain.clone(),
                source: "there is no patch".into(),
            });
        };
        self.record(pack, segment)
    }

    fn record(&self, pack: &OpenPack, segment: usize) -> Result<Vec<u8>, FetchError> {
        let failed = |source| FetchError { path: pack.address.clone(), source };
        let place = pack.index.segment(segment).map_err(|error| failed(error.into()))?;
        debug_assert!(place.record.end - place.record.start <= MAX_RECORD as u64);
        self.source.range(&pack.address, &place.record)
    }

    /// Makes a segment of the patch's record, mended by larger forms if that goes wrong. Tells
    /// whether it did.
    pub fn patched(
        &self,
        segment: usize,
        record: Result<Vec<u8>, FetchError>,
        old: &(impl ReadAt + ?Sized),
        decoder: &mut Decoder,
        out: &mut [u8],
    ) -> Result<bool, SegmentError> {
        let index = match &self.patch {
            Some(pack) => &pack.index,
            None => return Err(SegmentError::Wrong(PayloadError::NoSegment { segment })),
        };
        let made = match record {
            Ok(record) => {
                let made = decoder.patch(index, segment, &record, old, out);
                made.map_err(|error| host::error::chain(&error))
            }
            Err(error) => Err(host::error::chain(&error)),
        };
        let Err(reason) = made else { return Ok(false) };
        log::warn!("segment {segment} cannot be patched and is fetched whole: {reason}");
        self.mend(segment, decoder, out)?;
        index.check_segment(segment, out)?;
        Ok(true)
    }

    /// Makes a segment without a patch: of its frame, or of the plain file. What comes out is
    /// checked only if there are frames.
    pub fn mend(
        &self,
        segment: usize,
        decoder: &mut Decoder,
        out: &mut [u8],
    ) -> Result<(), SegmentError> {
        if let Some(pack) = self.frames() {
            let made = self.record(pack, segment).map_err(|error| host::error::chain(&error));
            let made = made.and_then(|record| {
                let made = decoder.frame(&pack.index, segment, &record, out);
                made.map_err(|error| host::error::chain(&error))
            });
            match made {
                Ok(()) => return Ok(()),
                Err(reason) => log::warn!("the frame of segment {segment} is not used: {reason}"),
            }
        }
        let start = segment as u64 * SEGMENT as u64;
        let bytes = self.source.range(&self.plain, &(start..start + out.len() as u64))?;
        out.copy_from_slice(&bytes);
        Ok(())
    }

    /// Fetches what gives the blocks `missing` of a segment, in the form that is smaller.
    pub fn fetch(&self, segment: u64, missing: &[u64]) -> Result<Fetched, FetchError> {
        if let Some(pack) = self.frames()
            && let Ok(place) = pack.index.segment(segment as usize)
        {
            let plain: u64 = runs(missing).iter().map(|run| (run.end - run.start) * BLOCK).sum();
            if place.record.end - place.record.start < plain {
                match self.record(pack, segment as usize) {
                    Ok(record) => return Ok(Fetched::Frame(record)),
                    Err(error) => log::warn!(
                        "the frame of segment {segment} is not used: {}",
                        host::error::chain(&error)
                    ),
                }
            }
        }
        self.fetch_plain(segment, missing)
    }

    /// Fetches them as they are in the image.
    pub fn fetch_plain(&self, segment: u64, missing: &[u64]) -> Result<Fetched, FetchError> {
        let first = segment * plan::SEGMENT;
        let mut parts = Vec::new();
        for run in runs(missing) {
            let range = (first + run.start) * BLOCK..((first + run.end) * BLOCK).min(self.size);
            parts.push((run, self.source.range(&self.plain, &range)?));
        }
        Ok(Fetched::Plain(parts))
    }

    /// Puts what was fetched into the segment's buffer and marks which blocks are there. Tells
    /// why it could not; then nothing in the buffer is marked.
    pub fn place(
        &self,
        fetched: Fetched,
        segment: u64,
        decoder: &mut Decoder,
        buffer: &mut [u8],
        filled: &mut [bool],
    ) -> Result<(), String> {
        match fetched {
            Fetched::Frame(record) => {
                filled.fill(false);
                let pack = self.frames().ok_or("there are no frames")?;
                decoder
                    .frame(&pack.index, segment as usize, &record, buffer)
                    .map_err(|error| host::error::chain(&error))?;
                filled.fill(true);
            }
            Fetched::Plain(parts) => {
                for (run, bytes) in parts {
                    for (block, content) in run.zip(bytes.chunks_exact(BLOCK as usize)) {
                        let at = (block * BLOCK) as usize;
                        let Some(place) = buffer.get_mut(at..at + BLOCK as usize) else {
                            return Err("more blocks than the segment has".to_owned());
                        };
                        place.copy_from_slice(content);
                        filled[block as usize] = true;
                    }
                }
            }
        }
        Ok(())
    }
}

fn address(target: &Target) -> Result<String, FetchError> {
    target.address().ok_or_else(|| FetchError {
        path: target.path.clone(),
        source: "none of its hashes is one that we know".into(),
    })
}

impl ReadAt for Region {
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.read_at(buffer, offset)
    }
}

// Records are fetched in one piece.
const _: () = assert!(MAX_RECORD as u64 <= PIECE);
