//! What each room needs of the configuration, as a type of that room.

use std::time::Duration;

use super::Config;
use super::tables::{Drivers, OnDamage, Permission, Punches, Tls};
use crate::clock::ClockOffset;
use crate::commands::DeviceProfile;
use crate::policy::Policy;
use crate::protocol::device::{Functions, VisibleLight};
use crate::signature::PublicKey;
use crate::{client, driver_socket, machine, server_queries, store, uplink};

impl Config {
    /// Whether a damaged store is set aside without being asked.
    pub fn sets_damaged_store_aside(&self) -> bool {
        self.limits.on_damage == OnDamage::SetAside
    }

    /// The limits of the store.
    pub fn store_limits(&self) -> store::Limits {
        store::Limits {
            users: self.limits.users,
            punches: self.limits.punches,
            bytes: mebibytes(self.limits.store_mib),
            free: mebibytes(self.limits.free_mib),
        }
    }

    /// How the server is reached. Certificates are checked by the time of `clock_offset`.
    pub fn uplink_settings(&self, clock_offset: ClockOffset) -> uplink::Settings {
        uplink::Settings {
            url: self.server.url.clone(),
            query: self.server.query.clone(),
            authorization: self.server.authorization.clone(),
            proxy: self.proxy.as_ref().map(|proxy| uplink::Proxy {
                host: proxy.host.clone(),
                port: proxy.port,
                authorization: proxy.authorization.clone(),
            }),
            connect: seconds(self.timeouts.connect),
            answer: seconds(self.timeouts.answer),
            poll: seconds(self.timeouts.poll.unwrap_or(self.timeouts.answer.saturating_mul(3))),
            body: seconds(self.timeouts.body),
            https_elsewhere: self.commands.urls.iter().any(|url| url.starts_with("https:")),
            tls: self.tls_settings(),
            clock_offset,
        }
    }

    fn tls_settings(&self) -> uplink::TlsSettings {
        let Tls { ca, cert, key, .. } = self.tls.clone();
        let client = cert.zip(key);
        uplink::TlsSettings {
            ca,
            #[cfg(feature = "tls")]
            pins: self.tls.pin.clone(),
            client: client.map(|(certificate, key)| uplink::ClientCertificate { certificate, key }),
        }
    }

    /// What the loop goes by.
    pub fn client_settings(&self) -> client::Settings {
        client::Settings {
            profile: self.profile(),
            language: self.language,
            comm_key: self.device.comm_key.clone(),
            dialect: self.dialect.clone(),
            policy: self.policy(),
            server: self.server.url.clone(),
            attlog_key: self.encryption.attlog_key.clone(),
            probation: seconds(self.upgrade.probation_seconds),
            trial_time: self.trial_time(),
            #[cfg(feature = "exchange")]
            exchange: self.encryption.exchange,
            punches_always: self.upload.punches == Punches::Always,
            first_rows: self.upload.rows,
            post_bytes: self.limits.post_bytes,
            command_bytes: self.limits.command_bytes,
            error_delay: self.timeouts.retry,
            start_spread: self.limits.start_spread,
        }
    }

    /// What the terminal tells about itself.
    fn profile(&self) -> DeviceProfile {
        let device = &self.device;
        let light = VisibleLight { comparison_photo: true, face_template: true };
        DeviceProfile {
            serial: self.serial.clone(),
            name: device.name.clone(),
            firmware: device.firmware.clone(),
            most_users: self.limits.users,
            fp_version: device.fp_version,
            face_version: device.face_version,
            faces_needed: device.faces_needed,
            functions: Functions {
                fingerprint: device.fp_version > 0,
                face: device.face_version > 0,
                user_photo: device.user_photos,
                visible: device.visible_light.then_some(light),
            },
            options: device.options.clone().into_iter().collect(),
        }
    }

    /// What the owner allows the server.
    fn policy(&self) -> Policy {
        let commands = &self.commands;
        Policy {
            denied: commands.denied(),
            put_dirs: commands.put_dirs.clone(),
            get_dirs: commands.get_dirs.clone(),
            urls: commands.urls.clone(),
            file_bytes: mebibytes(self.limits.file_mib),
            free_bytes: mebibytes(self.limits.free_mib),
            shell_time: seconds(commands.shell_seconds),
            shell_bytes: commands.shell_bytes,
            upgrade: self.upgrade.command.clone(),
            upgrade_key: self
                .upgrade
                .public_key
                .as_deref()
                .and_then(|key| PublicKey::parse(key).ok()),
            downgrade: self.upgrade.downgrade == Permission::Allow,
            upgrade_time: seconds(self.upgrade.seconds),
        }
    }

    /// The owner's rules for what drivers ask the server.
    pub fn query_rules(&self) -> server_queries::Rules {
        server_queries::Rules {
            verification: seconds(self.verification.seconds),
            fallback: self.verification.fallback == Permission::Allow,
            remote: seconds(self.remote.seconds),
            stay: Duration::from_secs(u64::from(self.remote.keep_minutes) * 60),
        }
    }

    /// Who may open the driver socket.
    pub fn driver_access(&self) -> driver_socket::Access {
        let Drivers { mode, group, record, people, maintain, .. } = self.drivers.clone();
        let roles = driver_socket::RoleNames { record, people, maintain };
        driver_socket::Access { mode, group, roles }
    }

    /// What the owner says about the device.
    pub fn machine_settings(&self) -> machine::Settings {
        machine::Settings {
            reboot: self.device.reboot.clone(),
            enrolment: seconds(self.device.enroll_seconds),
        }
    }

    /// How long a new program on trial may take to reach the server.
    pub fn trial_time(&self) -> Duration {
        seconds(self.upgrade.connect_seconds)
    }

    /// The keys that differ in `new` and hold until the next start.
    pub fn fixed_keys_that_differ(&self, new: &Self) -> Vec<&'static str> {
        let (was, is) = (&self.limits, &new.limits);
        let keys = [
            ("serial", self.serial != new.serial),
            ("language", self.language != new.language),
            ("store", self.store != new.store),
            ("run_dir", self.run_dir != new.run_dir),
            ("clock", self.clock != new.clock),
            ("timezone", self.timezone != new.timezone),
            ("[drivers]", self.drivers != new.drivers),
            ("[limits] users", was.users != is.users),
            ("[limits] punches", was.punches != is.punches),
            ("[limits] store_mib", was.store_mib != is.store_mib),
            ("[limits] free_mib", was.free_mib != is.free_mib),
            ("[limits] on_damage", was.on_damage != is.on_damage),
        ];
        keys.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
    }
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

fn mebibytes(mib: u64) -> u64 {
    mib.saturating_mul(1 << 20)
}
