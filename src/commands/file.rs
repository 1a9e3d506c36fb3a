//! `GetFile` and `PutFile` (§12.8): the server names no path outside the directories that the owner
//! lists, and no URL that the owner does not allow. A file that was fetched appears at its path as a
//! whole.

use std::fs::File;
use std::io;
use std::path::Path;

use super::context::Context;
use super::error::CommandError;
use super::url;
use crate::files::{ArchiveLimits, ConfinedPath, FileError, unpack};
use crate::policy::Policy;
use crate::protocol::codes::ReturnCode;
use crate::protocol::fields::Refusal;
use crate::protocol::file::{Action, PutFile};

/// Most members of an archive.
const MOST_MEMBERS: u64 = 10_000;
/// How many times its size an archive may have when it is unpacked.
const HIGHEST_RATIO: u64 = 200;

/// Checks, opens and saves files.
#[derive(Clone, Copy)]
pub(crate) struct Files<'a> {
    context: &'a Context<'a>,
}

impl<'a> Files<'a> {
    pub(super) fn new(context: &'a Context<'a>) -> Self {
        Self { context }
    }

    /// Opens a file that the server may have. Returns its size in bytes, too.
    pub(crate) fn open(self, path: &str) -> Result<(File, u64), Refusal> {
        let Policy { get_dirs, file_bytes, .. } = self.context.policy;
        let (file, size) = ConfinedPath::find(get_dirs, path)?.open()?;
        if size > *file_bytes {
            let most = file_bytes >> 20;
            let why = format!("{path} is larger than {most} MiB ([limits] file_mib)");
            return Err(Refusal::new(ReturnCode::TOO_LONG, why));
        }
        Ok((file, size))
    }

    /// Refuses a `PutFile` that could not be saved, before anything is fetched.
    pub(super) fn check_put(self, put: &PutFile<'_>) -> Result<(), Refusal> {
        self.locate(&put.url)?;
        if put.action != Action::Keep {
            return Ok(());
        }
        match ConfinedPath::find(&self.context.policy.put_dirs, &self.destination(put)?) {
            // Missing directories are made when the file is there.
            Ok(_) | Err(FileError::Missing(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Where to fetch a file: a path at the server, or a whole URL that the owner allows.
    pub(crate) fn locate(self, url: &str) -> Result<String, Refusal> {
        url::locate(url, self.context.server, self.context.policy)
    }

    /// Saves a file that was fetched, or unpacks it if it is an archive. Long work: it calls
    /// `yield_now`, which ends it by an error.
    pub(crate) fn put(
        self,
        put: &PutFile<'_>,
        part: &Path,
        yield_now: &mut dyn FnMut() -> io::Result<()>,
    ) -> Result<(), CommandError> {
        let destination = self.destination(put)?;
        let dirs = &self.context.policy.put_dirs;
        if put.is_archive() {
            let directory = format!("{}/", destination.trim_end_matches('/'));
            let place = ConfinedPath::find_or_make(dirs, &directory)?;
            unpack(part, &place, &archive_limits(self.context.policy), yield_now)?;
        } else {
            ConfinedPath::find_or_make(dirs, &destination)?.put(part, yield_now)?;
        }
        Ok(())
    }

    /// The absolute path of the file, or of the directory into which it is unpacked.
    fn destination(self, put: &PutFile<'_>) -> Result<String, Refusal> {
        let path = match put.path.as_deref() {
            // The document's first example names the archive itself: it is unpacked beside it.
            Some(path) if put.is_archive() && ends_like_archive(path) => {
                path.rsplit_once('/').map_or("", |(directory, _)| directory)
            }
            Some(path) => path,
            None if put.is_archive() => "",
            None => {
                let why = "PutFile has no path; only a .tgz or .tar.gz needs none";
                return Err(Refusal::parameter(why));
            }
        };
        if path.starts_with('/') {
            return Ok(path.to_owned());
        }
        let first = self.context.policy.put_dirs.first().and_then(|first| first.to_str());
        let first = first.ok_or_else(|| {
            let why =
                "the owner of the terminal lists no directory for files ([commands] put_dirs)";
            Refusal::new(ReturnCode::UNSUPPORTED, why)
        })?;
        Ok(format!("{}/{path}", first.trim_end_matches('/')))
    }
}

/// What an archive, or a compressed list of data commands, may hold.
pub(super) fn archive_limits(policy: &Policy) -> ArchiveLimits {
    ArchiveLimits {
        members: MOST_MEMBERS,
        bytes: policy.file_bytes,
        ratio: HIGHEST_RATIO,
        free: policy.free_bytes,
    }
}

fn ends_like_archive(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    path.ends_with(".tgz") || path.ends_with(".tar.gz")
}
