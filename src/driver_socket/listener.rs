//! The socket in the file system: where it is, and who may connect.

use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::process::umask;

/// Who may connect.
#[derive(Clone, Debug)]
pub struct Access {
    /// Permissions of the socket.
    pub mode: u32,
    /// Name or number of the group that it belongs to, if not punchd's own.
    pub group: Option<String>,
}

/// Most bytes of the path of a socket (`sun_path`, with a zero behind it).
pub const LONGEST_PATH: usize = 107;

/// Where the driver socket is.
pub fn socket_path(run_dir: &Path) -> PathBuf {
    run_dir.join("driver.sock")
}

/// Makes the socket, and its directory. One that another punchd left behind is replaced.
pub(super) fn listen(socket: &Path, access: &Access) -> io::Result<UnixListener> {
    if let Some(run_dir) = socket.parent() {
        std::fs::create_dir_all(run_dir)?;
    }
    if UnixStream::connect(socket).is_ok() {
        return Err(io::Error::other("another punchd listens there"));
    }
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Only the owner may connect, until group and mode are as they should be.
    let before = umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(socket);
    umask(before);
    let listener = listener?;
    if let Some(group) = &access.group {
        chown(socket, None, Some(group_id(group)?))?;
    }
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(access.mode))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The number of a group, by its number or its name in `/etc/group`: a static binary has no
/// other way to ask for it.
///
/// # Errors
/// The file cannot be read, or has no such group.
pub fn group_id(group: &str) -> io::Result<u32> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let groups = std::fs::read_to_string("/etc/group")?;
    let number = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(group)).then(|| fields.nth(1)?.parse().ok())?
    });
    number.ok_or_else(|| io::Error::other(format!("there is no group {group:?} in /etc/group")))
}
