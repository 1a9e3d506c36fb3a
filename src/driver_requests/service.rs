//! What drivers provide, and its names.

use crate::protocol::enroll::Sought;
use crate::protocol::tables::BioType;

/// Something that a driver can provide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// It enrols people, by something of their body.
    Bio(BioType),
    /// It enrols cards.
    Card,
    /// It opens the door.
    Unlock,
    /// It ends an alarm.
    Unalarm,
    /// It shows messages.
    Message,
}

/// The names of what is enrolled, in the order of the protocol's types (§11.12).
const KINDS: [&str; 10] = [
    "general",
    "fingerprint",
    "face",
    "voice",
    "iris",
    "retina",
    "palmprint",
    "fingervein",
    "palm",
    "visibleface",
];

impl Service {
    /// The service of this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "card" => Self::Card,
            "unlock" => Self::Unlock,
            "unalarm" => Self::Unalarm,
            "message" => Self::Message,
            "fvein" => Self::Bio(BioType::FINGER_VEIN),
            kind => {
                let code = KINDS.iter().position(|known| *known == kind)?;
                Self::Bio(BioType::new(u8::try_from(code).ok()?)?)
            }
        })
    }

    /// The name that drivers use for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bio(bio_type) => KINDS[usize::from(bio_type.code())],
            Self::Card => "card",
            Self::Unlock => "unlock",
            Self::Unalarm => "unalarm",
            Self::Message => "message",
        }
    }

    /// What a driver has to provide to enrol this.
    pub(crate) fn to_enroll(sought: Sought) -> Self {
        sought.bio_type().map_or(Self::Card, Self::Bio)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_has_its_name() {
        for name in KINDS.into_iter().chain(["card", "unlock", "unalarm", "message"]) {
            assert_eq!(Service::from_name(name).unwrap().name(), name);
        }
        assert_eq!(Service::from_name("coffee"), None);
        assert_eq!(Service::to_enroll(Sought::Finger(3)).name(), "fingerprint");
        assert_eq!(Service::to_enroll(Sought::Bio(BioType::VISIBLE_FACE)).name(), "visibleface");
    }
}
