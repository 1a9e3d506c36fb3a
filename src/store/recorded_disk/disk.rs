//! A disk at one moment: what is synced, and what a power cut may take.
//!
//! What a sync of a file covered stays. Of each change after it, a power cut keeps what it likes: files
//! are written back in any order, in pieces of a sector or of a page of memory, and a sector that was
//! written several times may be as it was after any of them. A file that grew may have its new length
//! with zeros in place of its bytes. Names (creations, renames, deletions) are kept by a sync of the
//! directory alone, which is what POSIX promises; ext4 and UBIFS keep more.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::tape::{Change, FileId, read_all};
use crate::client::simulation::random::Random;

/// The sector of a disk, and the page in which the system writes files back.
const SECTOR: u64 = 512;
const PAGE: u64 = 4096;

/// The directory and its files.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    files: BTreeMap<FileId, File>,
    /// The names that are synced.
    names: BTreeMap<String, FileId>,
    /// The changes of names that are not.
    name_changes: Vec<Change>,
}

/// A file: its synced bytes, and the changes since.
#[derive(Clone, Default)]
struct File {
    synced: Vec<u8>,
    changes: Vec<Change>,
}

/// The files after a power cut.
pub(crate) struct Image {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// What became of the changes that were not synced, for people.
    pub(crate) story: Vec<String>,
}

/// What a power cut keeps of the changes of a file that were not synced.
#[derive(Clone, Copy, Debug)]
enum Kept {
    All,
    Nothing,
    /// The first so many.
    First(usize),
    /// Each change by itself, or not.
    Some,
    /// Each piece of so many bytes of each change by itself, or not.
    Torn(u64),
    /// Each piece of so many bytes of the file is as it was at a moment of its own.
    Mixed(u64),
}

impl Disk {
    pub(super) fn new(files: BTreeMap<String, Vec<u8>>) -> Self {
        let mut disk = Self::default();
        for (id, (name, synced)) in files.into_iter().enumerate() {
            disk.names.insert(name, id);
            disk.files.insert(id, File { synced, changes: Vec::new() });
        }
        disk
    }

    /// Makes a change.
    pub(crate) fn change(&mut self, change: &Change) {
        match change {
            Change::Write { file, .. } | Change::Truncate { file, .. } => {
                self.files.entry(*file).or_default().changes.push(change.clone());
            }
            Change::Sync { file } => self.files.entry(*file).or_default().sync(),
            Change::Create { file, .. } => {
                self.files.entry(*file).or_default();
                self.name_changes.push(change.clone());
            }
            Change::Rename { .. } | Change::Delete { .. } => self.name_changes.push(change.clone()),
            Change::Nothing => {}
            Change::SyncDirectory => {
                let changes = std::mem::take(&mut self.name_changes);
                changes.iter().for_each(|change| rename(&mut self.names, change));
                let named: BTreeSet<_> = self.names.values().collect();
                self.files.retain(|file, _| named.contains(file));
            }
        }
    }

    /// The files if nothing is lost.
    pub(super) fn whole(&self) -> Image {
        self.image_with(&mut |_, _| Kept::All, &mut Random::new(0))
    }

    /// The same in the middle of a change: of a write, some first bytes were written.
    pub(crate) fn image_amid(&mut self, change: &Change, random: &mut Random) -> Image {
        let Change::Write { file, offset, bytes } = change else { return self.image(random) };
        let bytes = bytes[..random.below(bytes.len() as u64 + 1) as usize].to_vec();
        self.change(&Change::Write { file: *file, offset: *offset, bytes });
        let image = self.image(random);
        self.files.entry(*file).or_default().changes.pop();
        image
    }

    /// The files as a power cut could leave them.
    pub(crate) fn image(&self, random: &mut Random) -> Image {
        self.image_with(&mut Kept::choose, random)
    }

    fn image_with(
        &self,
        choose: &mut dyn FnMut(usize, &mut Random) -> Kept,
        random: &mut Random,
    ) -> Image {
        let (mut names, mut story) = (self.names.clone(), Vec::new());
        let kept = choose(self.name_changes.len(), random);
        for (nth, change) in self.name_changes.iter().enumerate() {
            let is_kept = kept.keeps(nth, random);
            story.push(format!("{}: {change:?}", if is_kept { "kept" } else { "lost" }));
            if is_kept {
                rename(&mut names, change);
            }
        }
        let files = names.iter().map(|(name, id)| {
            let file = &self.files[id];
            let kept = choose(file.changes.len(), random);
            if !file.changes.is_empty() {
                story.push(format!(
                    "{name}: {} changes not synced, kept: {kept:?}",
                    file.changes.len()
                ));
            }
            (name.clone(), file.after(kept, random, &mut story))
        });
        let files = files.collect();
        Image { files, story }
    }
}

/// Makes a change of names.
fn rename(names: &mut BTreeMap<String, FileId>, change: &Change) {
    match change {
        Change::Create { name, file } => _ = names.insert(name.clone(), *file),
        Change::Delete { name } => _ = names.remove(name),
        Change::Rename { from, to, file } => {
            if names.get(from) == Some(file) {
                names.remove(from);
            }
            names.insert(to.clone(), *file);
        }
        _ => {}
    }
}

impl File {
    fn sync(&mut self) {
        for change in std::mem::take(&mut self.changes) {
            change_bytes(&mut self.synced, &change, 0..u64::MAX);
        }
    }

    /// The content after a power cut.
    fn after(&self, kept: Kept, random: &mut Random, story: &mut Vec<String>) -> Vec<u8> {
        let mut content = self.synced.clone();
        let mut moments = BTreeMap::new();
        for (nth, change) in self.changes.iter().enumerate() {
            let Change::Write { offset, bytes, .. } = change else {
                let is_kept = kept.keeps(nth, random);
                story.push(format!("  {}: {change:?}", if is_kept { "kept" } else { "lost" }));
                if is_kept {
                    change_bytes(&mut content, change, 0..u64::MAX);
                }
                continue;
            };
            let end = offset + bytes.len() as u64;
            let (mut from, mut lost) = (*offset, 0);
            let is_whole = kept.keeps(nth, random);
            while from < end {
                let to = kept.piece().map_or(end, |size| end.min((from / size + 1) * size));
                let is_kept = match kept {
                    Kept::Torn(_) => random.below(2) == 0,
                    Kept::Mixed(size) => {
                        let most = self.changes.len() as u64 + 1;
                        nth < *moments
                            .entry(from / size)
                            .or_insert_with(|| random.below(most) as usize)
                    }
                    _ => is_whole,
                };
                if is_kept {
                    change_bytes(&mut content, change, from..to);
                } else {
                    lost += to - from;
                }
                from = to;
            }
            let grows = lost > 0 && (content.len() as u64) < end && random.below(2) == 0;
            if grows {
                content.resize(end as usize, 0);
            }
            let zeros = if grows { ", zeros in their place" } else { "" };
            story.push(format!("  {offset} to {end}: {lost} bytes lost{zeros}"));
        }
        content
    }
}

/// Makes a change, as far as it lies in a range of the file.
fn change_bytes(content: &mut Vec<u8>, change: &Change, range: std::ops::Range<u64>) {
    match change {
        Change::Truncate { size, .. } => content.resize(*size as usize, 0),
        Change::Write { offset, bytes, .. } => {
            let end = range.end.min(offset + bytes.len() as u64) as usize;
            let from = range.start.max(*offset) as usize;
            if content.len() < end {
                content.resize(end, 0);
            }
            content[from..end]
                .copy_from_slice(&bytes[from - *offset as usize..end - *offset as usize]);
        }
        _ => {}
    }
}

impl Kept {
    /// One of them, for so many changes.
    fn choose(changes: usize, random: &mut Random) -> Self {
        match random.below(8) {
            0 => Self::All,
            1 => Self::Nothing,
            2 => Self::First(random.below(changes as u64 + 1) as usize),
            3 => Self::Some,
            4 => Self::Torn(SECTOR),
            5 => Self::Torn(PAGE),
            6 => Self::Mixed(SECTOR),
            _ => Self::Mixed(PAGE),
        }
    }

    /// Whether a change is kept that is not divided.
    fn keeps(self, nth: usize, random: &mut Random) -> bool {
        match self {
            Self::All => true,
            Self::Nothing => false,
            Self::First(changes) => nth < changes,
            Self::Some | Self::Torn(_) | Self::Mixed(_) => random.below(2) == 0,
        }
    }

    /// In pieces of which length a write is kept.
    fn piece(self) -> Option<u64> {
        match self {
            Self::Torn(size) | Self::Mixed(size) => Some(size),
            _ => None,
        }
    }
}

impl Image {
    /// The files of a directory.
    pub(crate) fn read(directory: &Path) -> Self {
        Self { files: read_all(directory), story: Vec::new() }
    }

    /// Writes the files into a directory, in place of what is there.
    pub(crate) fn write(&self, directory: &Path) {
        let _ = fs::remove_dir_all(directory);
        fs::create_dir_all(directory).unwrap();
        for (name, content) in &self.files {
            fs::write(directory.join(name), content).unwrap();
        }
    }
}
