//! The files beside the store: their names, and how one is written durably.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Replaces a file durably: after a power cut it is the old one or the whole new one. Only the owner can
/// read it.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = beside(path, ".new");
    let write = || {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    let written: io::Result<()> = write();
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written.and_then(|()| sync_directory(path))
}

/// Makes what was renamed in the directory of `path` durable.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// The path of a file whose name is that of the store, and more.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
