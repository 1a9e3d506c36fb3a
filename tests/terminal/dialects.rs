//! Each firmware family as it was captured: the targets and the rows, field by field.
//!
//! The forms are those of the captures (C01 …); serial, PIN, times and versions are made up. What
//! a family's captures do not show is as in the document.

use std::net::IpAddr;

use iclock_emulator::{Emulator, Kind};
use punchd::protocol::dialect::Family;
use serde_json::json;

use crate::harness::{TIMEOUT, Terminal, server, targets};

/// A family, what its terminal is set to, and what it then sends. `{seq}` is the number of the
/// row, `{ip}` the terminal's address.
struct Form {
    family: Family,
    /// Top level of punchd.toml, then `[device]`.
    settings: [&'static str; 2],
    /// What follows each path.
    suffix: &'static str,
    /// What follows `SN` and `options` in the handshake.
    handshake: &'static str,
    /// `INFO` once a user and a punch are there.
    info: &'static str,
    /// Status and verification of the punch.
    punch: [u8; 2],
    attlog: &'static str,
    /// How the row of a user ends.
    user_end: &'static str,
    /// The stamps of both tables.
    stamps: [&'static str; 2],
    /// The habits that the strict server is to permit.
    habits: &'static [Kind],
}

const DOCUMENT: Form = Form {
    family: Family::Document,
    settings: ["", ""],
    suffix: "",
    handshake: "pushver=2.4.1&language=69",
    info: "made,1,0,1,{ip},0,0,0,0,000",
    punch: [0, 1],
    attlog: "made7|2026-03-04 05:06:07|0|1|0|0|0",
    user_end: "ViceCard=",
    stamps: ["Stamp={seq}", "Stamp={seq}"],
    habits: &[],
};

const FIXED: [&str; 2] = ["Stamp=9999", "Stamp=9999"];

const FORMS: [Form; 13] = [
    // C45: ten values of INFO.
    Form {
        settings: ["", "fp_version = 10\nface_version = 7\nfaces_needed = 12\nuser_photos = true"],
        info: "made,1,0,1,{ip},10,7,12,0,111",
        ..DOCUMENT
    },
    // C53 for punches, C33 for operations.
    Form { family: Family::FixedStamp, stamps: FIXED, habits: &[Kind::StampDialect], ..DOCUMENT },
    // C05
    Form {
        family: Family::OpStamp,
        stamps: ["Stamp=9999", "OpStamp=9999"],
        habits: &[Kind::StampDialect, Kind::OpStampDialect],
        ..DOCUMENT
    },
    // C41
    Form {
        family: Family::LanguageFirst,
        settings: ["language = 83", "comm_key = \"madekey\""],
        handshake: "language=83&pushver=2.4.1&pushcommkey=madekey&PushOptionsFlag=1",
        ..DOCUMENT
    },
    // C17, C19
    Form {
        family: Family::AttType,
        settings: ["language = 76", ""],
        handshake: "language=76&pushver=2.4.1&DeviceType=att&PushOptionsFlag=1",
        ..DOCUMENT
    },
    // C01, C21; C23 for the row, C03 for operations.
    Form {
        family: Family::RegionType,
        handshake: "language=69&pushver=2.4.1&DeviceType=middle%20east&PushOptionsFlag=1",
        attlog: "made7|2026-03-04 05:06:07|0|1|0|0|0|0|0|0|{seq}",
        stamps: FIXED,
        habits: &[Kind::StampDialect, Kind::AttlogDialect],
        ..DOCUMENT
    },
    // C07 for the path, C09 for thirteen values with five functions.
    Form {
        family: Family::Aspx,
        settings: ["", "face_version = 39\nfaces_needed = 12\nvisible_light = true"],
        suffix: ".aspx",
        info: "made,1,0,1,{ip},0,39,12,0,01011,0,0,0",
        habits: &[Kind::InfoDialect],
        ..DOCUMENT
    },
    // C43
    Form { family: Family::ShortVersion, handshake: "pushver=2.32&language=69", ..DOCUMENT },
    // C47
    Form {
        family: Family::SixValues,
        settings: ["", "fp_version = 10"],
        info: "made,1,0,1,{ip},10",
        habits: &[Kind::InfoDialect],
        ..DOCUMENT
    },
    // C39
    Form {
        family: Family::TrailingTab,
        punch: [1, 1],
        attlog: "made7|2026-03-04 05:06:07|1|1||0|0|",
        habits: &[Kind::AttlogDialect],
        ..DOCUMENT
    },
    // C49
    Form {
        family: Family::SparseIndex,
        punch: [1, 15],
        attlog: "made7|2026-03-04 05:06:07|1|15||0|0|||{seq}",
        user_end: "ViceCard=|StartDatetime=0|EndDatetime=0",
        stamps: FIXED,
        habits: &[Kind::StampDialect, Kind::AttlogDialect],
        ..DOCUMENT
    },
    // C17 for the handshake, C33 for the stamp.
    Form {
        family: Family::VisibleLight,
        handshake: "language=69&pushver=2.4.1&DeviceType=att&PushOptionsFlag=1",
        punch: [0, 15],
        attlog: "made7|2026-03-04 05:06:07|0|15|0|0|0|255|0|0",
        user_end: "ViceCard=|StartDatetime=0|EndDatetime=0",
        stamps: FIXED,
        habits: &[Kind::StampDialect, Kind::AttlogDialect],
        ..DOCUMENT
    },
    // N60
    Form {
        family: Family::TabEnd,
        punch: [255, 1],
        attlog: "made7|2026-03-04 05:06:07|255|1|0|0|0|0|0|0|",
        habits: &[Kind::AttlogDialect],
        ..DOCUMENT
    },
];

#[test]
fn every_family_has_its_form() {
    assert_eq!(FORMS.map(|form| form.family), Family::ALL);
}

#[test]
fn each_family_sends_what_was_captured() {
    std::thread::scope(|scope| {
        for form in &FORMS {
            scope.spawn(|| form.holds());
        }
    });
}

impl Form {
    /// Lets a terminal of the family do one of each, and looks at what came.
    fn holds(&self) {
        let server = server();
        self.habits.iter().for_each(|habit| server.allow(*habit));
        let terminal = Terminal::start(&server, &self.configuration());
        let mut driver = terminal.driver();
        // The start of the terminal is an operation as well: it goes first, by itself.
        assert!(server.wait_until(TIMEOUT, |received| received.oplog().len() == 1));
        let [status, verify] = self.punch;
        let punch = json!({"pin": "made7", "time": "2026-03-04 05:06:07", "status": status, "verify": verify});
        let punch = driver.call("punch", punch).unwrap()["seq"].clone();
        assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 1));
        let menu = json!({"op": 4, "time": "2026-03-04 05:06:08", "who": "made7"});
        let menu = driver.call("operation", menu).unwrap()["seq"].clone();
        assert!(server.wait_until(TIMEOUT, |received| received.oplog().len() == 2));
        driver.call("user.put", json!({"pin": "made7"})).unwrap();
        let id = server.queue("DATA QUERY USERINFO PIN=made7");
        assert!(server.wait_until(TIMEOUT, |received| received.reply(&id).is_some()));

        let family = self.family.name();
        self.compare(&server, "handshake", &format!("cdata?options=all&{}", self.handshake));
        for (table, stamp, seq) in
            [("ATTLOG", self.stamps[0], &punch), ("OPERLOG", self.stamps[1], &menu)]
        {
            let stamp = stamp.replace("{seq}", &seq.to_string());
            let upload = format!("cdata?table={table}&{stamp}");
            self.compare(&server, &format!("upload:{table}"), &upload);
        }
        self.compare(&server, "reply", "devicecmd?");
        self.compare(&server, "poll", "getrequest?");
        self.compare_info(&server);
        let row = self.attlog.replace("{seq}", &punch.to_string());
        assert_eq!(fields(&server.attlog()[0].raw), row.split('|').collect::<Vec<_>>(), "{family}");
        let row = ["OPLOG 4", "0", "2026-03-04 05:06:08", "made7", "0", "0", "0"];
        assert_eq!(fields(&server.oplog()[1].raw), row, "{family}");
        let user = server.users().remove(0).raw;
        let end: Vec<&str> = fields(&user).into_iter().skip(8).collect();
        assert_eq!(end.join("|"), self.user_end, "{family}");
        server.assert_strict();
    }

    fn configuration(&self) -> String {
        let ([top, device], name) = (self.settings, self.family.name());
        format!("{top}\n[dialect]\nfamily = \"{name}\"\n[device]\nfirmware = \"made\"\n{device}")
    }

    /// A request with this target must come: its path, then its parameters after `SN`.
    #[track_caller]
    fn compare(&self, server: &Emulator, exchange: &str, form: &str) {
        let (path, parameters) = form.split_once('?').unwrap();
        let mut expected = format!("/iclock/{path}{}?SN=MADE0001", self.suffix);
        if !parameters.is_empty() {
            expected = format!("{expected}&{parameters}");
        }
        self.wait_for(server, exchange, |target| target == expected);
    }

    /// A poll must tell these values: counts are told as they change.
    fn compare_info(&self, server: &Emulator) {
        let start = format!("/iclock/getrequest{}?SN=MADE0001&INFO=", self.suffix);
        self.wait_for(server, "poll", |target| {
            let told: Vec<&str> = target.strip_prefix(&start).unwrap_or("").split(',').collect();
            let address = told.get(4).copied().unwrap_or("");
            let expected = self.info.replace("{ip}", address);
            address.parse::<IpAddr>().is_ok() && told == expected.split(',').collect::<Vec<_>>()
        });
    }

    #[track_caller]
    fn wait_for(&self, server: &Emulator, exchange: &str, is_it: impl Fn(&str) -> bool) {
        let came = server.wait_until(TIMEOUT, |received| {
            received.requests().any(|seen| seen.exchange == exchange && is_it(&seen.target))
        });
        assert!(came, "{}: not in {:#?}", self.family.name(), targets(server, exchange));
    }
}

fn fields(row: &[u8]) -> Vec<&str> {
    std::str::from_utf8(row).unwrap().split('\t').collect()
}
