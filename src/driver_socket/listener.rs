//! The socket in the file system: where it is, and who may connect.

use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::process::umask;

use super::accounts::group_id;
use super::roles::RoleNames;

/// Who may connect.
#[derive(Clone, Debug)]
pub struct Access {
    /// Permissions of the socket.
    pub mode: u32,
    /// Name or number of the group that it belongs to, if not punchd's own.
    pub group: Option<String>,
    /// Who may do what.
    pub roles: RoleNames,
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
