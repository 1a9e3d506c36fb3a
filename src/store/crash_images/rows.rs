//! Rows for the loads, each with something of its own.

use crate::client::simulation::random::Random;
use crate::protocol::record::{
    Algorithm, Jpeg, Operand, Pin, Template, TemplateData, TemplateKind, TemplateSlot, User,
    WorkCode,
};
use crate::protocol::time::LocalTime;
use crate::store::{Moment, NewOperation, NewPhoto, NewPunch};

fn moment(random: &mut Random) -> Moment {
    let seconds = 1_800_000_000 + random.below(10_000_000) as i64;
    Moment::At(LocalTime::from_seconds(seconds).unwrap())
}

pub(super) fn pin(number: u64) -> Pin {
    Pin::new(&(number + 1).to_string()).unwrap()
}

pub(super) fn punch(random: &mut Random) -> NewPunch {
    let workcode = WorkCode::new(&random.below(1_000_000).to_string()).unwrap();
    let number = (random.below(5000) + 1).to_string();
    NewPunch { workcode, ..NewPunch::of(&number, moment(random)) }
}

pub(super) fn operation(random: &mut Random) -> NewOperation {
    let operand = |number: u64| Operand::new("v", &number.to_string()).unwrap();
    NewOperation {
        code: random.below(100) as u16,
        moment: moment(random),
        operator: operand(random.below(9)),
        who: operand(random.below(5000)),
        values: [(); 3].map(|()| operand(random.below(1_000_000))),
    }
}

/// A picture of some pages.
pub(super) fn photo(random: &mut Random) -> NewPhoto {
    let mut bytes = vec![0xFF, 0xD8, 0xFF];
    let length = 1000 + random.below(5000);
    bytes.extend((0..length).map(|_| random.below(255) as u8));
    bytes.extend([0xFF, 0xD9]);
    let photo = Jpeg::new("photo", bytes).unwrap();
    NewPhoto { pin: pin(random.below(5000)), moment: moment(random), card: None, photo }
}

pub(super) fn user(number: u64, random: &mut Random) -> User {
    let name = format!("user {}", random.below(1_000_000));
    User { name, ..User::new(pin(number)) }
}

pub(super) fn fingerprint(number: u64, random: &mut Random) -> Template {
    let data = (0..300 + random.below(300)).map(|_| random.below(256) as u8).collect();
    Template {
        pin: pin(number),
        slot: TemplateSlot::new(TemplateKind::Fingerprint, random.below(10) as u8, 0).unwrap(),
        valid: true,
        duress: false,
        algorithm: Algorithm::new(0, 0, 0).unwrap(),
        data: TemplateData::new("data", data).unwrap(),
    }
}
