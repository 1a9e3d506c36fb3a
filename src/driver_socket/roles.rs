//! Which driver may do what, by the user and the group of the process at the other end.
//!
//! The kernel says who that is (SO_PEERCRED), as it was when the process connected. Of its groups it says the
//! primary one; a user is in another group if `/etc/group` says so.

use std::io;

use rustix::net::UCred;
use rustix::process::geteuid;

use super::accounts::{group_id, members, user_id};
use crate::driver_requests::Service;
use crate::rpc::{ErrorCode, Method, RpcError};

/// Roles, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Roles(u8);

impl Roles {
    /// Records what happens at the terminal, and asks the server about people.
    const RECORD: Self = Self(1);
    /// Changes people, and enrols them.
    const PEOPLE: Self = Self(2);
    /// Looks after the terminal.
    const MAINTAIN: Self = Self(4);
    const ALL: Self = Self(7);

    /// Those of which one is needed for a method.
    fn needed(method: Method) -> Self {
        match method {
            Method::Register | Method::Status | Method::OptionGet => Self::ALL,
            Method::Punch
            | Method::Photo
            | Method::Operation
            | Method::Alarm
            | Method::Error
            | Method::Verify
            | Method::Remote => Self::RECORD,
            // A sensor matches against templates, a reader asks whose a card is.
            Method::UserGet | Method::Changes => Self(Self::RECORD.0 | Self::PEOPLE.0),
            Method::UserPut
            | Method::TemplatePut
            | Method::PicturePut
            | Method::IdcardPut
            | Method::UserDelete
            | Method::TemplateDelete
            | Method::PictureDelete
            | Method::CardDelete => Self::PEOPLE,
            Method::OptionSet | Method::Export | Method::Quarantine => Self::MAINTAIN,
        }
    }

    fn needed_for_service(service: Service) -> Self {
        match service {
            Service::Bio(_) | Service::Card => Self::PEOPLE,
            Service::Unlock | Service::Unalarm | Service::Message => Self::RECORD,
        }
    }

    /// The keys of `[drivers]` for them.
    fn keys(self) -> String {
        let keys =
            [(Self::RECORD, "record"), (Self::PEOPLE, "people"), (Self::MAINTAIN, "maintain")];
        let keys = keys.into_iter().filter(|(role, _)| self.0 & role.0 != 0);
        keys.map(|(_, key)| key).collect::<Vec<_>>().join(" or ")
    }

    fn require(self, needed: Self) -> Result<(), RpcError> {
        if !super::HAS_ROLES || self.0 & needed.0 != 0 {
            return Ok(());
        }
        let keys = needed.keys();
        let why = format!("this user has not the role for it: add it to {keys} in [drivers]");
        Err(RpcError::new(ErrorCode::NotAllowed, why))
    }

    /// Whether a driver with these may call a method.
    pub(super) fn allow(self, method: Method) -> Result<(), RpcError> {
        self.require(Self::needed(method))
    }

    /// Whether a driver with these may provide a service.
    pub(super) fn allow_service(self, service: Service) -> Result<(), RpcError> {
        self.require(Self::needed_for_service(service))
    }
}

/// Who has which role, as the configuration says; `None`: everybody who may connect.
#[derive(Clone, Debug, Default)]
pub struct RoleNames {
    /// Who may record.
    pub record: Option<Vec<String>>,
    /// Who may change people.
    pub people: Option<Vec<String>>,
    /// Who may look after the terminal.
    pub maintain: Option<Vec<String>>,
}

/// The same by numbers.
#[derive(Debug, Default)]
pub(super) struct RoleTable([Option<Peers>; 3]);

impl RoleTable {
    /// Looks up the names. Who cannot be found has no role; the log says so.
    pub(super) fn new(names: &RoleNames) -> Self {
        if !super::HAS_ROLES {
            return Self::default();
        }
        let RoleNames { record, people, maintain } = names;
        Self([record, people, maintain].map(|names| names.as_deref().map(Peers::find)))
    }

    /// The roles of a process. punchd's own user and root have all: they can read the store.
    pub(super) fn of(&self, peer: Option<UCred>) -> Roles {
        if !super::HAS_ROLES {
            return Roles::ALL;
        }
        let is_owner = |peer: &UCred| peer.uid.is_root() || peer.uid == geteuid();
        if peer.as_ref().is_some_and(is_owner) {
            return Roles::ALL;
        }
        let has = |peers: &Option<Peers>| match (peers, &peer) {
            (None, _) => true,
            (Some(peers), Some(peer)) => peers.have(peer.uid.as_raw(), peer.gid.as_raw()),
            (Some(_), None) => false,
        };
        let bits = self.0.iter().enumerate().map(|(nth, peers)| u8::from(has(peers)) << nth);
        Roles(bits.sum())
    }
}

/// Users and groups.
#[derive(Debug, Default)]
struct Peers {
    users: Vec<u32>,
    groups: Vec<u32>,
}

impl Peers {
    fn find(names: &[String]) -> Self {
        let mut peers = Self::default();
        for name in names {
            if let Err(error) = peers.add(name) {
                log::error!("[drivers] roles: {error}: nobody has a role by that");
            }
        }
        peers
    }

    fn add(&mut self, name: &str) -> io::Result<()> {
        match name.strip_prefix('@') {
            None => self.users.push(user_id(name)?),
            Some(group) => {
                let number = group_id(group)?;
                self.groups.push(number);
                self.users.extend(members(number)?);
            }
        }
        Ok(())
    }

    fn have(&self, user: u32, group: u32) -> bool {
        self.users.contains(&user) || self.groups.contains(&group)
    }
}

/// The number of a user or a group (`@name`) that has a role.
///
/// # Errors
/// There is none with that name.
pub fn role_holder(name: &str) -> io::Result<u32> {
    name.strip_prefix('@').map_or_else(|| user_id(name), group_id)
}
