//! The signature of an upgrade: taken from the end of the file or fetched on its own, and checked each time
//! before a program gets the file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::error::failed;
use crate::files::{Spool, YieldNow};
use crate::policy::Policy;
use crate::protocol::fields::Refusal;
use crate::signature::{self, Comment, PublicKey, Untrusted, Version};
use crate::store::{Job, sync_directory};

/// The name of the firmware when it is handed over (§12.11.2).
pub(super) const FIRMWARE: &str = "emfw.cfg";
/// Bytes of a new program that are made safe together.
const SAVED_AFTER: usize = 128 << 10;
/// The name of the signature beside the firmware.
const SIGNATURE: &str = "emfw.cfg.minisig";

/// Moves the signature at the end of the firmware into a file of its own. False if there is none.
pub(super) fn detach(spool: &Spool, job: &Job) -> io::Result<bool> {
    let mut file =
        OpenOptions::new().read(true).write(true).open(spool.named(job.row, FIRMWARE))?;
    let length = file.metadata()?.len();
    let from = length.saturating_sub(signature::LONGEST as u64);
    file.seek(SeekFrom::Start(from))?;
    let mut end = Vec::new();
    Read::by_ref(&mut file).take(signature::LONGEST as u64).read_to_end(&mut end)?;
    let Some(at) = signature::find(&end) else { return Ok(false) };
    // The signature is safe before it is gone from the firmware.
    write(&spool.named(job.row, SIGNATURE), &end[at..])?;
    file.set_len(from + at as u64)?;
    file.sync_all()?;
    Ok(true)
}

/// Keeps the signature that was fetched: as text, or as the base64 that a server makes of files.
pub(super) fn keep(spool: &Spool, job: &Job) -> io::Result<()> {
    let bytes = fs::read(spool.part(job.row))?;
    let text: Vec<u8> = bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let decoded = BASE64_STANDARD.decode(text).unwrap_or(bytes);
    write(&spool.named(job.row, SIGNATURE), &decoded)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    sync_directory(path)
}

/// Checks the firmware against the owner's key and rules, before a program gets it.
pub(super) fn check(
    spool: &Spool,
    job: &Job,
    policy: &Policy,
    key: &PublicKey,
    yield_now: &mut YieldNow<'_>,
) -> Result<(), Refusal> {
    copy(spool, job, policy, key, yield_now, &mut io::sink())
}

/// Copies the firmware to where it can be tried, and checks the bytes that it copies. Nothing is there if
/// they are not the owner's.
pub(super) fn install(
    spool: &Spool,
    job: &Job,
    policy: &Policy,
    key: &PublicKey,
    yield_now: &mut YieldNow<'_>,
    place: &Path,
) -> Result<(), Refusal> {
    let cannot = |error| failed(format!("{} cannot be written: {error}", place.display()));
    remove(place).map_err(cannot)?;
    let mut new = OpenOptions::new();
    let new = new.write(true).create_new(true).mode(0o700).open(place).map_err(cannot)?;
    let mut parts = SavedInParts { file: &new, unsaved: 0 };
    let copied = copy(spool, job, policy, key, yield_now, &mut parts).and_then(|()| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        new.set_permissions(mode).and_then(|()| new.sync_all()).map_err(cannot)?;
        sync_directory(place).map_err(cannot)
    });
    if copied.is_err() {
        let _ = remove(place);
    }
    copied
}

/// A file that is made safe part by part: drivers wait meanwhile, and so never for all of it.
struct SavedInParts<'a> {
    file: &'a File,
    unsaved: usize,
}

impl Write for SavedInParts<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.unsaved += count;
        if self.unsaved >= SAVED_AFTER {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unsaved = 0;
        self.file.sync_data()
    }
}

/// Removes a program that is not to be tried any more. It need not be there.
pub(crate) fn remove(place: &Path) -> io::Result<()> {
    match fs::remove_file(place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn copy(
    spool: &Spool,
    job: &Job,
    policy: &Policy,
    key: &PublicKey,
    yield_now: &mut YieldNow<'_>,
    to: &mut impl Write,
) -> Result<(), Refusal> {
    let signature = fs::read(spool.named(job.row, SIGNATURE))
        .map_err(|error| failed(format!("the signature of the file cannot be read: {error}")))?;
    let content = spool.read(job.row, FIRMWARE, yield_now)?;
    let comment = key.check(&signature, content, to).map_err(|error| match error {
        Untrusted::Wrong(why) => failed(format!("the file {why}")),
        Untrusted::Io(error) => failed(format!("the file cannot be checked or copied: {error}")),
    })?;
    check_comment(&comment, policy.downgrade)
}

/// A file for another machine, or older than this program, is refused.
fn check_comment(comment: &Comment, downgrade: bool) -> Result<(), Refusal> {
    let (target, own) = (&comment.target, env!("PUNCHD_TARGET"));
    if !comment.is_for(own) {
        return Err(failed(format!("the file is for {target}, and this terminal is {own}")));
    }
    let (version, own) = (comment.version, Version::own());
    if version < own && !downgrade {
        return Err(failed(format!(
            "the file is version {version}, older than {own}, which runs: set downgrade = \"allow\" in \
             [upgrade] if that is wanted"
        )));
    }
    Ok(())
}
