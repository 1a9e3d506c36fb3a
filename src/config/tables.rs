//! The tables of the configuration, and their defaults.

use std::path::PathBuf;

use serde::Deserialize;

use super::values;
use crate::policy::Family;

/// `[device]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Device {
    /// Name of the model.
    pub name: String,
    /// Version of the firmware that punchd is part of.
    pub firmware: String,
    /// Key by which a server tells whether the terminal is authorised (`pushcommkey`).
    pub comm_key: String,
    /// The program that starts the device anew, and its arguments; none: it cannot be.
    pub reboot: Vec<String>,
    /// Version of the fingerprint algorithm; 0 for a terminal without one.
    pub fp_version: u16,
    /// Version of the face algorithm; 0 for a terminal without one.
    pub face_version: u16,
    /// How many faces an enrolment takes.
    pub faces_needed: u64,
    /// Whether it shows photos of users.
    pub user_photos: bool,
    /// Whether it has a camera for visible light: comparison photos and unified faces.
    pub visible_light: bool,
    /// Seconds that an enrolment may take.
    pub enroll_seconds: u32,
}

/// `[commands]`: what the owner lets the server do.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Commands {
    /// `DATA UPDATE`, `DATA DELETE`.
    pub data: Permission,
    /// `DATA QUERY`.
    pub query: Permission,
    /// `CHECK`, `LOG`, `VERIFY SUM`, `INFO`.
    pub check: Permission,
    /// `SET OPTION`, `RELOAD OPTIONS`.
    pub options: Permission,
    /// `CLEAR LOG`, `CLEAR PHOTO`.
    pub clear: Permission,
    /// `CLEAR DATA`: takes all people off the terminal.
    pub clear_data: Permission,
    /// `PutFile`, and pictures by URL.
    pub put_file: Permission,
    /// `GetFile`.
    pub get_file: Permission,
    /// `ENROLL_FP`, `ENROLL_MF`, `ENROLL_BIO`.
    pub enroll: Permission,
    /// `AC_UNLOCK`, `AC_UNALARM`.
    pub door: Permission,
    /// `REBOOT`.
    pub reboot: Permission,
    /// `SHELL`.
    pub shell: Permission,
    /// `UPGRADE`.
    pub upgrade: Permission,
    /// Directories beneath which `PutFile` may write; a path that is not absolute begins in
    /// the first.
    pub put_dirs: Vec<PathBuf>,
    /// Directories beneath which `GetFile` may read.
    pub get_dirs: Vec<PathBuf>,
    /// Beginnings of URLs from which files may come, beside the server.
    pub urls: Vec<String>,
    /// Seconds that a `SHELL` may run.
    pub shell_seconds: u32,
    /// Bytes of its output that are kept; more ends it.
    pub shell_bytes: usize,
}

/// `[drivers]`
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Drivers {
    /// Permissions of the socket, in octal.
    #[serde(deserialize_with = "values::octal")]
    pub mode: u32,
    /// Name or number of the group that the socket belongs to.
    pub group: Option<String>,
    /// The directory in which drivers may leave large templates and photos.
    pub shared: Option<PathBuf>,
}

/// `[upgrade]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Upgrade {
    /// The program that installs an upgrade, and its arguments; the file is added to them.
    pub command: Vec<String>,
    /// Seconds that it may run.
    pub seconds: u32,
}

/// Whether something is let be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    /// It is: a command is carried out, a person may pass.
    Allow,
    /// It is not: a command is answered with −1002, and the audit log says so.
    Deny,
}

impl Commands {
    /// What is not obeyed.
    pub fn denied(&self) -> Vec<Family> {
        let permission = |family| match family {
            Family::Data => self.data,
            Family::Query => self.query,
            Family::Check => self.check,
            Family::Options => self.options,
            Family::Clear => self.clear,
            Family::ClearData => self.clear_data,
            Family::PutFile => self.put_file,
            Family::GetFile => self.get_file,
            Family::Enroll => self.enroll,
            Family::Door => self.door,
            Family::Reboot => self.reboot,
            Family::Shell => self.shell,
            Family::Upgrade => self.upgrade,
        };
        Family::ALL.into_iter().filter(|family| permission(*family) == Permission::Deny).collect()
    }
}

/// `[limits]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Most users on the terminal.
    pub users: u64,
    /// Most bytes in the body of an upload.
    pub post_bytes: usize,
    /// Punches that are kept; the oldest that were uploaded go first.
    pub punches: u64,
    /// MiB of the store.
    pub store_mib: u64,
    /// MiB that stay free on the store's disk.
    pub free_mib: u64,
    /// MiB of the largest file that goes either way.
    pub file_mib: u64,
    /// Longest command of a server in bytes.
    pub command_bytes: usize,
    /// Seconds over which terminals that start together spread their first contact.
    pub start_spread: u32,
}

/// `[timeouts]`, in seconds.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// Until a connection stands.
    pub connect: u32,
    /// Until the server takes or gives the next bytes.
    pub answer: u32,
    /// For the body of one response.
    pub body: u32,
    /// Until the next try after a failure, as long as the server has not named another time
    /// (`ErrorDelay`). It doubles with each further failure.
    pub retry: u32,
}

/// `[tls]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Certificates to trust, in PEM; the system's if not set.
    pub ca: Option<PathBuf>,
}

/// `[encryption]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Encryption {
    /// Key of the attendance rows, for a server that says `EncryptFlag=1`.
    #[serde(deserialize_with = "values::attlog_key")]
    pub attlog_key: Option<String>,
}

/// `[verification]`: asking the server whether a person may pass, where it wants that.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Verification {
    /// Seconds until the server must have answered.
    pub seconds: u32,
    /// What holds if it has not.
    pub fallback: Permission,
}

/// `[remote]`: remote attendance.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Remote {
    /// Seconds until the server must have answered.
    pub seconds: u32,
    /// Minutes for which a person stays.
    pub keep_minutes: u32,
}

impl Default for Device {
    fn default() -> Self {
        Self {
            name: "punchd".into(),
            firmware: env!("CARGO_PKG_VERSION").into(),
            comm_key: String::new(),
            reboot: Vec::new(),
            fp_version: 0,
            face_version: 0,
            faces_needed: 0,
            user_photos: false,
            visible_light: false,
            enroll_seconds: 120,
        }
    }
}

impl Default for Commands {
    fn default() -> Self {
        use Permission::{Allow, Deny};
        Self {
            data: Allow,
            query: Allow,
            check: Allow,
            options: Allow,
            clear: Allow,
            clear_data: Deny,
            put_file: Allow,
            get_file: Deny,
            enroll: Allow,
            door: Allow,
            reboot: Allow,
            shell: Deny,
            upgrade: Allow,
            put_dirs: vec!["/mnt/mtdblock".into()],
            get_dirs: Vec::new(),
            urls: Vec::new(),
            shell_seconds: 60,
            shell_bytes: 64 << 10,
        }
    }
}

impl Default for Drivers {
    fn default() -> Self {
        Self { mode: 0o660, group: None, shared: None }
    }
}

impl Default for Upgrade {
    fn default() -> Self {
        Self { command: Vec::new(), seconds: 600 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            users: 100_000,
            punches: 500_000,
            store_mib: 512,
            free_mib: 8,
            file_mib: 256,
            post_bytes: 64 << 10,
            command_bytes: 2 << 20,
            start_spread: 3,
        }
    }
}

impl Default for Verification {
    fn default() -> Self {
        Self { seconds: 3, fallback: Permission::Deny }
    }
}

impl Default for Remote {
    fn default() -> Self {
        Self { seconds: 10, keep_minutes: 480 }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: 15, answer: 30, body: 600, retry: 60 }
    }
}
