//! The tables of the configuration, and their defaults.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

#[cfg(feature = "tls")]
use super::pins;
use super::values;
use crate::client::FIRST_ROWS;
#[cfg(feature = "exchange")]
use crate::exchange::Mode;
use crate::policy::Family;
#[cfg(feature = "tls")]
use crate::uplink::Pin;

/// `[device]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Device {
    /// Name of the model.
    pub(super) name: String,
    /// Version of the firmware that punchd is part of.
    pub(super) firmware: String,
    /// `pushcommkey`: the key by which a server knows that the terminal is authorised.
    pub(super) comm_key: String,
    /// The program that reboots the device, and its arguments. Without one, `REBOOT` is refused.
    pub(super) reboot: Vec<String>,
    /// Version of the fingerprint algorithm, 0 if there is none.
    pub(super) fp_version: u16,
    /// Version of the face algorithm, 0 if there is none.
    pub(super) face_version: u16,
    /// Pictures of a face that an enrolment takes.
    pub(super) faces_needed: u64,
    /// Whether the terminal shows photos of users.
    pub(super) user_photos: bool,
    /// Whether it has a camera for visible light: comparison photos, unified face templates.
    pub(super) visible_light: bool,
    /// Seconds that an enrolment may take.
    pub(super) enroll_seconds: u32,
    /// Further options that the terminal says about itself.
    pub(super) options: BTreeMap<String, String>,
}

/// `[upload]`: what goes up.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Upload {
    /// When punches go up.
    pub(super) punches: Punches,
    /// Rows in an upload until the server has confirmed their count.
    pub(super) rows: usize,
}

impl Default for Upload {
    fn default() -> Self {
        Self { punches: Punches::default(), rows: FIRST_ROWS }
    }
}

/// When punches go up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Punches {
    /// If the server's `TransFlag` names them.
    #[default]
    Flag,
    /// Whatever the server's `TransFlag` says.
    Always,
}

/// `[commands]`: what the owner lets the server do.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Commands {
    /// `DATA UPDATE`, `DATA DELETE`.
    pub(super) data: Permission,
    /// `DATA QUERY`.
    pub(super) query: Permission,
    /// `CHECK`, `LOG`, `VERIFY SUM`, `INFO`.
    pub(super) check: Permission,
    /// `SET OPTION`, `RELOAD OPTIONS`.
    pub(super) options: Permission,
    /// `CLEAR LOG`, `CLEAR PHOTO`.
    pub(super) clear: Permission,
    /// `CLEAR DATA`: deletes all people.
    pub(super) clear_data: Permission,
    /// `PutFile`, and pictures by URL.
    pub(super) put_file: Permission,
    /// `GetFile`.
    pub(super) get_file: Permission,
    /// `ENROLL_FP`, `ENROLL_MF`, `ENROLL_BIO`.
    pub(super) enroll: Permission,
    /// `AC_UNLOCK`, `AC_UNALARM`.
    pub(super) door: Permission,
    /// `REBOOT`.
    pub(super) reboot: Permission,
    /// `SHELL`.
    pub(super) shell: Permission,
    /// `UPGRADE`.
    pub(super) upgrade: Permission,
    /// Directories beneath which `PutFile` may write. A path that is not absolute is relative to
    /// the first.
    pub(super) put_dirs: Vec<PathBuf>,
    /// Directories beneath which `GetFile` may read.
    pub(super) get_dirs: Vec<PathBuf>,
    /// Prefixes of the URLs from which files may come, besides the server.
    pub(super) urls: Vec<String>,
    /// Seconds that a `SHELL` may run.
    pub(super) shell_seconds: u32,
    /// Most bytes of its output. A program that writes more is killed.
    pub(super) shell_bytes: usize,
}

/// `[drivers]`
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Drivers {
    /// Permissions of the socket; octal in the file.
    #[serde(deserialize_with = "values::octal")]
    pub(super) mode: u32,
    /// Name or number of the group that the socket belongs to.
    pub(super) group: Option<String>,
    /// The directory in which drivers may leave large templates and photos.
    pub(crate) shared: Option<PathBuf>,
    /// Users, and groups with @, who may record what happens; nobody named: everybody who may connect.
    pub(super) record: Option<Vec<String>>,
    /// The same for changes of people.
    pub(super) people: Option<Vec<String>>,
    /// The same for the care of the terminal.
    pub(super) maintain: Option<Vec<String>>,
}

/// `[upgrade]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Upgrade {
    /// The program that installs an upgrade, and its arguments. The path of the file follows them.
    pub(super) command: Vec<String>,
    /// Seconds that it may run.
    pub(super) seconds: u32,
    /// The key that has to have signed an upgrade.
    pub(super) public_key: Option<String>,
    /// Whether it may be older than the program that runs.
    pub(super) downgrade: Permission,
    /// Seconds without an end after which a new program counts as good.
    pub(super) probation_seconds: u32,
    /// Seconds within which it has to reach the server.
    pub(crate) connect_seconds: u32,
}

/// Whether the owner allows something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Permission {
    /// A command is executed, a person may pass.
    Allow,
    /// A command is answered with −1002 and recorded in the audit log, a person may not pass.
    Deny,
}

impl Commands {
    /// The families that are denied.
    pub(super) fn denied(&self) -> Vec<Family> {
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
pub(crate) struct Limits {
    /// Most users on the terminal.
    pub(crate) users: u64,
    /// Most bytes in the body of an upload.
    pub(super) post_bytes: usize,
    /// Most punches. The oldest that were uploaded are deleted first.
    pub(super) punches: u64,
    /// Most MiB of the store.
    pub(super) store_mib: u64,
    /// MiB that the store must leave free on its disk.
    pub(super) free_mib: u64,
    /// Most MiB of a file that is fetched or sent.
    pub(super) file_mib: u64,
    /// Most bytes of a command of the server.
    pub(super) command_bytes: usize,
    /// Seconds over which terminals that start together spread their first contact.
    pub(super) start_spread: u32,
    /// What happens to a store that is damaged.
    pub(crate) on_damage: OnDamage,
}

/// What happens to a store that is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OnDamage {
    /// punchd does not start with it.
    Stop,
    /// It is renamed, and an empty one takes its place.
    SetAside,
}

/// `[timeouts]`, in seconds.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Timeouts {
    /// Until the server accepts a connection.
    pub(super) connect: u32,
    /// Until the server receives or sends the next bytes.
    pub(super) answer: u32,
    /// Until the answer to a poll begins: servers hold a poll until they have a command. Without it,
    /// three times `answer`.
    pub(super) poll: Option<u32>,
    /// Until the body of one response is complete.
    pub(super) body: u32,
    /// Until the next try after a failure, unless the server named a time (`ErrorDelay`). It
    /// doubles with each further failure.
    pub(super) retry: u32,
}

/// `[tls]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Tls {
    /// A file with the certificates to trust, in PEM. Without one the system's, or only `pin`.
    pub(super) ca: Option<PathBuf>,
    /// Keys of which the server must have one.
    #[cfg(feature = "tls")]
    #[serde(deserialize_with = "pins::pins")]
    pub(super) pin: Vec<Pin>,
    /// The same: without TLS it means nothing.
    #[cfg(not(feature = "tls"))]
    pub(super) pin: serde::de::IgnoredAny,
    /// A file with the terminal's own certificate, in PEM.
    pub(super) cert: Option<PathBuf>,
    /// A file with the private key of `cert`, in PEM.
    pub(super) key: Option<PathBuf>,
}

/// `[encryption]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Encryption {
    /// The RC4 key of attendance rows, for a server that sends `EncryptFlag=1`.
    #[serde(deserialize_with = "values::attlog_key")]
    pub(super) attlog_key: Option<String>,
    /// Whether keys are exchanged with the server.
    #[cfg(feature = "exchange")]
    #[serde(deserialize_with = "values::exchange")]
    pub(super) exchange: Mode,
}

/// `[verification]`: the server decides whether a person may pass, if it asked for that.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Verification {
    /// Seconds that the server has for its answer.
    pub(super) seconds: u32,
    /// What applies if it does not answer.
    pub(super) fallback: Permission,
}

/// `[remote]`: people whom the terminal does not know are fetched from the server.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Remote {
    /// Seconds that the server has for its answer.
    pub(super) seconds: u32,
    /// Minutes for which a fetched person stays on the terminal.
    pub(super) keep_minutes: u32,
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
            options: BTreeMap::new(),
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
        Self { mode: 0o660, group: None, shared: None, record: None, people: None, maintain: None }
    }
}

impl Default for Upgrade {
    fn default() -> Self {
        Self {
            command: Vec::new(),
            seconds: 600,
            public_key: None,
            downgrade: Permission::Deny,
            probation_seconds: 600,
            connect_seconds: 1800,
        }
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
            on_damage: OnDamage::Stop,
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
        Self { connect: 15, answer: 30, poll: None, body: 600, retry: 60 }
    }
}
