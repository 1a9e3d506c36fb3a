//! What an archive may contain: files and directories, each once, and no file where another
//! member needs a directory.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{self, Read};
use std::path::Path;

use md5::{Digest, Md5};
use tar::EntryType;

use super::gunzip::Gunzip;
use super::members::{Member, Members};
use super::{ArchiveLimits, FileError, YieldNow, name};

/// A member that follows all rules.
pub(super) struct CheckedMember<'a> {
    /// The path in the archive.
    pub(super) path: &'a str,
    /// The names of the path, at least one.
    pub(super) names: &'a [&'a str],
    pub(super) is_directory: bool,
    pub(super) is_executable: bool,
}

/// The size of an archive.
#[derive(Default)]
pub(super) struct Totals {
    /// Bytes of all files.
    pub(super) bytes: u64,
    /// Files and directories.
    pub(super) names: u64,
}

/// Reads an archive to its end. Each member is checked, then passed to `visit` with its contents,
/// which `visit` need not read.
pub(super) fn each_member(
    archive: &Path,
    limits: &ArchiveLimits,
    yield_now: &mut YieldNow<'_>,
    visit: &mut dyn FnMut(&CheckedMember<'_>, &mut dyn Read) -> Result<(), FileError>,
) -> Result<Totals, FileError> {
    let stream = Gunzip::open(archive, limits, || -> io::Result<()> { yield_now() })?;
    let mut members = Members::new(stream, limits.members);
    let mut seen = SeenNames::default();
    let mut totals = Totals::default();
    let mut is_empty = true;
    while let Some(member) = members.next()? {
        is_empty = false;
        let path = text(&member)?;
        let names = name::of_member(path).map_err(|why| FileError::member(path, why))?;
        let is_directory = is_directory(&member, path)?;
        totals.bytes = totals.bytes.saturating_add(member.size);
        if totals.bytes > limits.bytes {
            let most = limits.bytes;
            return Err(FileError::TooLarge(format!("the archive holds more than {most} bytes")));
        }
        match names.is_empty() {
            // The directory itself: `./`.
            true if is_directory => continue,
            true => return Err(FileError::member(path, "has no name")),
            false => {}
        }
        seen.add(&names, is_directory).map_err(|why| FileError::member(path, why))?;
        if seen.0.len() as u64 > limits.members {
            let most = limits.members;
            return Err(FileError::TooLarge(format!("the archive has more than {most} members")));
        }
        let is_executable = member.is_executable;
        let checked = CheckedMember { path, names: &names, is_directory, is_executable };
        visit(&checked, &mut members)?;
    }
    if is_empty {
        return Err(FileError::archive("it is empty"));
    }
    totals.names = seen.0.len() as u64;
    Ok(totals)
}

fn text(member: &Member) -> Result<&str, FileError> {
    std::str::from_utf8(&member.name).map_err(|_| {
        FileError::member(&String::from_utf8_lossy(&member.name), "has a name that is not UTF-8")
    })
}

fn is_directory(member: &Member, path: &str) -> Result<bool, FileError> {
    let refused = |why: &str| Err(FileError::member(path, why));
    match member.kind {
        EntryType::Directory if member.size > 0 => refused("is a directory with contents"),
        EntryType::Directory => Ok(true),
        // The oldest archives mark a directory only by its name.
        EntryType::Regular if path.ends_with('/') && member.size == 0 => Ok(true),
        EntryType::Regular if path.ends_with('/') => refused("is a directory with contents"),
        EntryType::Regular => Ok(false),
        EntryType::Link | EntryType::Symlink | EntryType::GNULongLink => {
            refused("is a link; links are not unpacked")
        }
        EntryType::Char | EntryType::Block => refused("is a device; devices are not unpacked"),
        EntryType::Fifo => refused("is a FIFO; only files and directories are unpacked"),
        EntryType::GNUSparse => refused("is a sparse file; pack it without --sparse"),
        _ => refused("is of an unknown kind; only files and directories are unpacked"),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Directory,
    /// A directory that is only part of other names.
    Implied,
}

/// The names so far, as digests, so that long names need no memory. Two names with one digest
/// would be refused as the same name, which only the maker of such an archive notices.
#[derive(Default)]
struct SeenNames(HashMap<[u8; 16], Kind>);

impl SeenNames {
    fn add(&mut self, names: &[&str], is_directory: bool) -> Result<(), &'static str> {
        let mut path = Md5::new();
        for (nth, name) in names.iter().enumerate() {
            path.update(name);
            path.update(b"/");
            let kind = match (nth + 1 == names.len(), is_directory) {
                (false, _) => Kind::Implied,
                (true, true) => Kind::Directory,
                (true, false) => Kind::File,
            };
            match (self.0.entry(path.clone().finalize().into()), kind) {
                (Entry::Vacant(new), kind) => drop(new.insert(kind)),
                (Entry::Occupied(mut known), kind) => match (*known.get(), kind) {
                    (Kind::Implied, Kind::Directory) => *known.get_mut() = kind,
                    (Kind::Implied | Kind::Directory, Kind::Implied) => {}
                    (Kind::File, Kind::File) | (Kind::Directory, Kind::Directory) => {
                        return Err("comes twice");
                    }
                    _ => return Err("is a file and a directory"),
                },
            }
        }
        Ok(())
    }
}
