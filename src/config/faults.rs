//! What the configuration names and the machine does not have, and values that were left as an
//! example has them.
//!
//! None of it keeps punchd from starting: it can be mended meanwhile, and punches are recorded. So
//! `punchd check` and `punchd doctor` refuse it, and a start writes it into the log.

use std::io::ErrorKind;
use std::path::Path;

use super::Config;
use super::tables::{Commands, Permission};
use crate::driver_socket::{group_id, role_holder};
use crate::processes::find_program;

/// The serial, and the host of the server, in configurations that ship.
const PLACEHOLDER: &str = "CHANGE-ME";
/// What `SHELL` runs.
const SHELL: &str = "/bin/sh";

impl Config {
    /// Each begins with its key, and says what to change. What this user may not look at goes to
    /// `unseen`: whether it is a fault is not known.
    pub fn faults(&self, unseen: &mut Vec<String>) -> Vec<String> {
        let mut faults = self.faults_of_values();
        faults.extend(self.missing_directories(unseen));
        faults.extend(self.missing_programs());
        if let Some(group) = &self.drivers.group
            && let Err(error) = group_id(group)
        {
            faults.push(format!(
                "[drivers] group: {error}: create it (addgroup --system {group}), or name another"
            ));
        }
        faults.extend(self.role_holders().filter_map(|(key, name)| {
            let error = role_holder(name).err()?;
            Some(format!(
                "[drivers] {key}: {error}: create it, or name another (a group begins with @)"
            ))
        }));
        faults
    }

    /// Who is named for a role, with the key.
    fn role_holders(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let drivers = &self.drivers;
        [("record", &drivers.record), ("people", &drivers.people), ("maintain", &drivers.maintain)]
            .into_iter()
            .filter(|_| cfg!(feature = "hardened"))
            .flat_map(|(key, names)| names.iter().flatten().map(move |name| (key, name)))
    }

    /// Those that are so whatever the machine has.
    pub fn faults_of_values(&self) -> Vec<String> {
        let mut faults = Vec::new();
        faults.extend(self.path_of_protocol());
        if self.serial.eq_ignore_ascii_case(PLACEHOLDER) {
            faults.push(format!(
                "serial is still {:?}: set it to the serial number by which the server knows this \
                 terminal",
                self.serial
            ));
        }
        if self.server.url.to_ascii_uppercase().contains(&format!("://{PLACEHOLDER}")) {
            faults.push(format!("server is still {:?}: set it to your server", self.server.url));
        }
        faults
    }

    /// `/iclock`, and a path of the protocol after it, at the end of `server`.
    fn path_of_protocol(&self) -> Option<String> {
        let url = &self.server.url;
        let lower = url.to_ascii_lowercase();
        let at = lower.rfind("/iclock")?;
        let exchange = match &lower[at + "/iclock".len()..] {
            "" => "",
            rest => rest.strip_prefix('/').filter(|rest| !rest.contains('/'))?,
        };
        let base = &url[..at];
        if base.ends_with('/') {
            return None; // http://iclock is a host.
        }
        let suffix = match exchange.rsplit_once('.') {
            Some((_, ending)) => format!(", and suffix = \".{ending}\" in [dialect]"),
            None => String::new(),
        };
        Some(format!(
            "server {url:?} ends with a path of the protocol, which punchd adds by itself: write \
             {base:?}{suffix}"
        ))
    }

    fn missing_directories(&self, unseen: &mut Vec<String>) -> Vec<String> {
        let Self { store, run_dir, commands, drivers, .. } = self;
        let mut faults = Vec::new();
        let mut need = |key: &str, dir: &Path| {
            let what = match dir.metadata() {
                Ok(found) if found.is_dir() => return,
                Ok(_) => "is not a directory".to_owned(),
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    let dir = dir.display();
                    return unseen.push(format!("{key}: this user may not look at {dir}"));
                }
                Err(error) => format!("cannot be used ({error})"),
            };
            let dir = dir.display();
            faults.push(format!(
                "{key}: the directory {dir} {what}: create it (mkdir -p {dir}), or name another"
            ));
        };
        need("store", parent(store));
        // punchd makes it; what it is made in has to be a directory.
        if let Some(existing) = run_dir.ancestors().find(|dir| dir.exists()) {
            need("run_dir", existing);
        }
        let default = Commands::default();
        // The default is for terminals that have it.
        if commands.put_file == Permission::Allow && commands.put_dirs != default.put_dirs {
            commands.put_dirs.iter().for_each(|dir| need("[commands] put_dirs", dir));
        }
        if commands.get_file == Permission::Allow {
            commands.get_dirs.iter().for_each(|dir| need("[commands] get_dirs", dir));
        }
        drivers.shared.iter().for_each(|dir| need("[drivers] shared", dir));
        faults
    }

    fn missing_programs(&self) -> Vec<String> {
        let Self { device, upgrade, commands, .. } = self;
        let shell = (commands.shell == Permission::Allow).then_some(SHELL);
        let named = [
            ("[device] reboot", device.reboot.first().map(String::as_str)),
            ("[upgrade] command", upgrade.command.first().map(String::as_str)),
            ("[commands] shell", shell),
        ];
        let faults = named.into_iter().filter_map(|(key, program)| {
            let why = find_program(program?).err()?;
            Some(format!(
                "{key}: the program {:?} {why}: install it, or correct its path",
                program?
            ))
        });
        faults.collect()
    }
}

/// The directory of a file.
fn parent(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The faults of a configuration whose directories are there otherwise.
    fn faults(server: &str, serial: &str, more: &str) -> Vec<String> {
        let text = format!(
            "server = {server:?}\nserial = {serial:?}\nstore = \"/tmp/punchd.db\"\nrun_dir = \
             \"/tmp/new/run\"\n{more}"
        );
        toml::from_str::<Config>(&text).unwrap().faults(&mut Vec::new())
    }

    #[test]
    fn a_path_of_the_protocol_is_refused_with_the_address_that_is_meant() {
        for (server, meant) in [
            ("http://h/iclock", "write \"http://h\""),
            ("http://h:81/iclock/", "write \"http://h:81\""),
            ("http://h/app/IClock/cdata", "write \"http://h/app\""),
            (
                "http://h/iclock/cdata.aspx",
                "write \"http://h\", and suffix = \".aspx\" in [dialect]",
            ),
            ("http://h/iclock/getrequest?token=SECRET", "write \"http://h\""),
            ("http://me:SECRET@h/iclock/devicecmd", "write \"http://h\""),
            ("http://iclock.example/iclock", "write \"http://iclock.example\""),
        ] {
            let found = faults(server, "S", "");
            assert_eq!(found.len(), 1, "{server}: {found:?}");
            assert!(found[0].starts_with("server \"http://"), "{found:?}");
            assert!(found[0].ends_with(meant) && !found[0].contains("SECRET"), "{found:?}");
        }
        for server in [
            "http://h",
            "http://iclock",
            "http://iclock:81",
            "http://iclock.example/push",
            "http://h/iclock2",
            "http://h/iclock/tenant/7",
            "http://h/?x=/iclock",
        ] {
            assert_eq!(faults(server, "S", ""), Vec::<String>::new(), "{server}");
        }
    }

    #[test]
    fn what_is_named_and_not_there_is_refused_with_its_key() {
        for (more, start, end) in [
            (
                "[device]\nreboot = [\"/no/reboot\"]",
                "[device] reboot: the program \"/no/reboot\" is not there",
                "correct its path",
            ),
            (
                "[device]\nreboot = [\"no-such-reboot\", \"-f\"]",
                "[device] reboot: the program \"no-such-reboot\" is in none",
                "correct its path",
            ),
            (
                "[upgrade]\ncommand = [\"/etc/passwd\"]",
                "[upgrade] command: the program \"/etc/passwd\" is not an executable file",
                "correct its path",
            ),
            (
                "[drivers]\nshared = \"/no/shared\"",
                "[drivers] shared: the directory /no/shared cannot be used (No such file",
                "or name another",
            ),
            (
                "[drivers]\nshared = \"/etc/passwd\"",
                "[drivers] shared: the directory /etc/passwd is not a directory",
                "or name another",
            ),
            (
                "[drivers]\ngroup = \"nobody-has-it\"",
                "[drivers] group: there is no group \"nobody-has-it\"",
                "or name another",
            ),
            (
                "[commands]\nput_dirs = [\"/tmp\", \"/no/put\"]",
                "[commands] put_dirs: the directory /no/put cannot",
                "(mkdir -p /no/put), or name another",
            ),
            (
                "[commands]\nget_file = \"allow\"\nget_dirs = [\"/no/get\"]",
                "[commands] get_dirs: the directory /no/get",
                "or name another",
            ),
        ] {
            let found = faults("http://h", "S", more);
            assert_eq!(found.len(), 1, "{more}: {found:?}");
            assert!(found[0].starts_with(start) && found[0].ends_with(end), "{more}: {found:?}");
        }
        for more in [
            "[device]\nreboot = [\"sh\"]\n[commands]\nshell = \"allow\"\n[drivers]\ngroup = \"0\"",
            "[commands]\nput_file = \"deny\"\nput_dirs = [\"/no/put\"]\nget_dirs = [\"/no/get\"]",
        ] {
            assert_eq!(faults("http://h", "S", more), Vec::<String>::new(), "{more}");
        }
        assert!(
            faults("http://h", "change-me", "")[0].starts_with("serial is still \"change-me\"")
        );
        let text = "server = \"http://h\"\nserial = \"S\"\nstore = \"/no/store/punchd.db\"\nrun_dir = \"/etc/passwd/run\"";
        let found = toml::from_str::<Config>(text).unwrap().faults(&mut Vec::new());
        assert!(found[0].starts_with("store: the directory /no/store cannot"), "{found:?}");
        assert!(found[1].starts_with("run_dir: the directory /etc/passwd is not"), "{found:?}");
    }
}
