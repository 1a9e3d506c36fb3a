//! The methods of the driver protocol, in both directions. Their names never change.

use std::fmt;

use serde_json::Value;

use super::message;

/// Makes an enum of methods with their names, so that none can be left out of the list.
macro_rules! methods {
    ($(#[$about:meta])* $type:ident { $($(#[$doc:meta])* $method:ident = $name:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $type { $($(#[$doc])* $method,)+ }

        impl $type {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$method,)+];

            /// The name on the wire.
            pub fn name(self) -> &'static str {
                match self { $(Self::$method => $name,)+ }
            }

            /// The method with this name.
            pub(crate) fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$method),)+ _ => None }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

methods! {
    /// What a driver calls.
    Method {
        /// Says who it is and what it provides.
        Register = "register",
        /// Somebody was here.
        Punch = "punch",
        /// A photo taken at a punch.
        Photo = "photo",
        /// An operation (App. 3).
        Operation = "operation",
        /// An operation that is an alarm (App. 5).
        Alarm = "alarm",
        /// An error for the server's error log (§11.16).
        Error = "error",
        /// Reads a user.
        UserGet = "user.get",
        /// Adds or changes a user.
        UserPut = "user.put",
        /// Adds or replaces a template.
        TemplatePut = "template.put",
        /// Adds or replaces a picture.
        PicturePut = "picture.put",
        /// Adds or replaces an identity card (§11.6).
        IdcardPut = "idcard.put",
        /// Deletes a user and all that hangs on the PIN.
        UserDelete = "user.delete",
        /// Deletes templates of a person.
        TemplateDelete = "template.delete",
        /// Deletes pictures of a person.
        PictureDelete = "picture.delete",
        /// Takes a card from a user.
        CardDelete = "card.delete",
        /// Reads an option.
        OptionGet = "option.get",
        /// Sets an option of the terminal.
        OptionSet = "option.set",
        /// Loads what sensors match against.
        Changes = "changes",
        /// May this person pass? (§12.11.3)
        Verify = "verify",
        /// Who is this? (§14)
        Remote = "remote",
        /// The state of the terminal.
        Status = "status",
        /// Punches as CSV.
        Export = "export",
        /// The rows that the server refuses.
        Quarantine = "quarantine",
    }
}

methods! {
    /// What punchd calls, on a driver that provides it.
    DriverMethod {
        /// Enrol somebody (§12.9).
        Enroll = "enroll",
        /// Open the door (§12.10).
        Unlock = "unlock",
        /// End the alarm (§12.10).
        Unalarm = "unalarm",
        /// An enrolment is given up. A notification.
        Cancel = "cancel",
        /// There is more for `changes`. A notification.
        Changed = "changed",
        /// A short message is new (§12.2.9). A notification.
        Message = "message",
    }
}

/// How punchd carries out a call, and what that may cost. What drivers send in one round shares
/// a transaction, and is answered after its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Execution {
    /// Reads a row or little more.
    Read,
    /// Writes, in the transaction of its round.
    Write,
    /// Reads a page of rows after the commit, so that what it reports is on disk. It waits until
    /// the driver has read the answers before it.
    ReadPage,
    /// Asks the server, after the commit and once: a round whose commit fails is done again,
    /// and a question cannot be taken back.
    AskServer,
}

impl Method {
    /// Writes a call, which is answered under its `id`.
    pub(crate) fn request(self, id: u64, params: &Value) -> String {
        message::request(Some(id), self.name(), params)
    }

    /// How it is carried out.
    pub(crate) fn execution(self) -> Execution {
        match self {
            Self::Register | Self::UserGet | Self::OptionGet => Execution::Read,
            Self::Punch
            | Self::Photo
            | Self::Operation
            | Self::Alarm
            | Self::Error
            | Self::UserPut
            | Self::TemplatePut
            | Self::PicturePut
            | Self::IdcardPut
            | Self::UserDelete
            | Self::TemplateDelete
            | Self::PictureDelete
            | Self::CardDelete
            | Self::OptionSet
            | Self::Quarantine => Execution::Write,
            Self::Changes | Self::Export | Self::Status => Execution::ReadPage,
            Self::Verify | Self::Remote => Execution::AskServer,
        }
    }
}

impl DriverMethod {
    /// Writes a call, which is answered under its `id`.
    pub(crate) fn request(self, id: u64, params: &Value) -> String {
        message::request(Some(id), self.name(), params)
    }

    /// Writes a call that is not answered.
    pub(crate) fn notification(self, params: &Value) -> String {
        message::request(None, self.name(), params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_its_name_and_its_execution() {
        use Execution::{AskServer, Read, ReadPage, Write};
        let methods = [
            ("register", Read),
            ("punch", Write),
            ("photo", Write),
            ("operation", Write),
            ("alarm", Write),
            ("error", Write),
            ("user.get", Read),
            ("user.put", Write),
            ("template.put", Write),
            ("picture.put", Write),
            ("idcard.put", Write),
            ("user.delete", Write),
            ("template.delete", Write),
            ("picture.delete", Write),
            ("card.delete", Write),
            ("option.get", Read),
            ("option.set", Write),
            ("changes", ReadPage),
            ("verify", AskServer),
            ("remote", AskServer),
            ("status", ReadPage),
            ("export", ReadPage),
            ("quarantine", Write),
        ];
        assert_eq!(Method::ALL.len(), methods.len());
        for (&method, (name, execution)) in Method::ALL.iter().zip(methods) {
            assert_eq!((method.name(), Method::from_name(name)), (name, Some(method)));
            assert_eq!(method.execution(), execution, "{name}");
        }
        let names = ["enroll", "unlock", "unalarm", "cancel", "changed", "message"];
        assert_eq!(DriverMethod::ALL.len(), names.len());
        for (&method, name) in DriverMethod::ALL.iter().zip(names) {
            assert_eq!((method.name(), DriverMethod::from_name(name)), (name, Some(method)));
        }
        // Each direction has its own methods, and names are exact.
        for name in ["unlock", "Punch", "punch ", ""] {
            assert_eq!(Method::from_name(name), None);
        }
        assert_eq!(DriverMethod::from_name("punch"), None);
    }
}
