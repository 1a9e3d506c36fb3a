//! What a driver can ask for.

use std::path::PathBuf;
use std::rc::Rc;

use serde_json::{Value, json};

use super::connection::Connection;
use super::rpc::{Call, Fault, Params};
use crate::clock::Clock;
use crate::csv;
use crate::driver_requests::{DriverRequests, Service};
use crate::protocol::codes::{Language, operation};
use crate::protocol::fields::{Fields, clip};
use crate::protocol::record::{HIGHEST_VERIFY, IdNumber, Operand, Pin, User, UserChange, WorkCode};
use crate::protocol::time::LocalTime;
use crate::reactor;
use crate::server_queries::ServerQueries;
use crate::status::Status;
use crate::store::{Moment, NewOperation, NewPunch, Origin, Store, StoreError, WithCard};

/// The version of the driver protocol.
const PROTOCOL: u64 = 1;
/// The error code for a table that is full (the store's own is another: −1001).
const FULL: i64 = -1006;
/// Too much waits: the device is busy (App. 1).
pub(super) const BUSY: i64 = -1005;
/// Most services of one driver.
const MOST_SERVICES: usize = 32;
/// Rows in one page of an export.
const ROWS_A_PAGE: usize = 500;
/// What a user has, by the protocol's names in lower case.
const USER_FIELDS: [&str; 9] =
    ["pin", "name", "pri", "passwd", "card", "grp", "tz", "verify", "vicecard"];

/// The methods, and what they work on.
pub struct Methods {
    /// Serial number of the terminal.
    pub serial: String,
    /// Its language.
    pub language: Language,
    /// Most users.
    pub most_users: u64,
    /// The store.
    pub store: Rc<Store>,
    /// The clock.
    pub clock: Rc<dyn Clock>,
    /// What is told of the connection.
    pub status: Rc<Status>,
    /// What waits for the server.
    pub server_queries: Rc<ServerQueries>,
    /// What waits for drivers.
    pub requests: Rc<DriverRequests>,
    /// The directory in which drivers may leave files.
    pub shared: Option<PathBuf>,
}

impl Methods {
    /// Does what a call asks for. Methods that write run inside a transaction of the caller.
    pub(super) fn run(&mut self, call: &Call, driver: &mut Connection) -> Result<Value, Fault> {
        match call.method.as_str() {
            "register" => self.register(&call.params, driver),
            "punch" => self.punch(&call.params),
            "operation" => self.operation(&call.params),
            "alarm" => self.alarm(&call.params),
            "photo" => self.photo(self.with_file(&call.params)?.as_ref()),
            "template.put" => self.template_put(self.with_file(&call.params)?.as_ref()),
            "picture.put" => self.picture_put(self.with_file(&call.params)?.as_ref()),
            "idcard.put" => self.idcard_put(&call.params),
            "error" => self.error(&call.params),
            "user.get" => self.user_get(&call.params),
            "user.put" => self.user_put(&call.params),
            "export" => self.export(&call.params),
            "quarantine" => self.quarantine(&call.params),
            "status" => {
                let mut report = self.status.report(&self.store)?;
                let provided = self.requests.provided();
                let names =
                    provided.into_iter().map(|(what, name)| (what.name().into(), name.into()));
                report["provided"] = Value::Object(names.collect());
                Ok(report)
            }
            other => Err(Fault::unknown_method(other)),
        }
    }

    fn register(&self, params: &Params, driver: &mut Connection) -> Result<Value, Fault> {
        let name = params.required("name")?;
        if name.is_empty() || name.len() > 64 || name.contains(char::is_control) {
            return Err(Params::complain("name", "is not of 1 to 64 printable characters"));
        }
        let services = services(params)?;
        driver.set_name(&name);
        log::info!("driver {name} is here{}", driver.peer());
        for (service, before) in self.requests.register(driver.number(), &name, &services) {
            let what = service.name();
            log::warn!("driver {name} is asked for {what} from now on, and {before} no longer");
        }
        Ok(json!({
            "protocol": PROTOCOL, "serial": self.serial, "version": env!("CARGO_PKG_VERSION")
        }))
    }

    fn punch(&self, params: &Params) -> Result<Value, Fault> {
        let punch = NewPunch { card: self.card(params)?, ..self.attempt(params)? };
        self.recorded(self.store.journal().add_punch(&punch))
    }

    /// A punch that may become one.
    pub(super) fn attempt(&self, params: &Params) -> Result<NewPunch, Fault> {
        Ok(NewPunch {
            pin: Pin::new(&params.required("pin")?)?,
            moment: self.moment(params)?,
            status: params.number("status", 255)?.unwrap_or(0) as u8,
            verify: params.number("verify", HIGHEST_VERIFY.into())?.unwrap_or(0) as u8,
            workcode: WorkCode::new(&params.text("workcode")?.unwrap_or_default())?,
            card: None,
        })
    }

    /// The identity card that a punch was made with.
    fn card(&self, params: &Params) -> Result<Option<WithCard>, Fault> {
        let Some(number) = params.text("idnum")? else { return Ok(None) };
        let number = IdNumber::new("idnum", &number)?;
        let verification = params.number("type", 1)?.unwrap_or(0) == 1;
        if verification {
            // A verification has outcomes and ways of its own (§11.7).
            if params.number("status", 2)?.is_none()
                || !matches!(params.number("verify", 3)?, Some(1..))
            {
                return Err(Params::complain(
                    "verify",
                    "of a verification is not within 1 to 3, or status is missing",
                ));
            }
        }
        Ok(Some(WithCard { number, verification }))
    }

    fn operation(&self, params: &Params) -> Result<Value, Fault> {
        let Some(code) = params.number("op", u16::MAX.into())? else {
            return Err(Params::complain("op", "is missing"));
        };
        let operand = |field| -> Result<Operand, Fault> {
            Ok(Operand::new(field, &params.text(field)?.unwrap_or_default())?)
        };
        let operation = NewOperation {
            code: code as u16,
            moment: self.moment(params)?,
            operator: operand("operator")?,
            who: operand("who")?,
            values: [operand("v1")?, operand("v2")?, operand("v3")?],
        };
        self.recorded(self.store.journal().add_operation(&operation))
    }

    /// An operation that is an alarm: App. 4 has the reason of App. 5 as its second object.
    fn alarm(&self, params: &Params) -> Result<Value, Fault> {
        let Some(reason) = params.number("reason", u16::MAX.into())? else {
            return Err(Params::complain("reason", "is missing"));
        };
        let operator = Operand::new("operator", &params.text("operator")?.unwrap_or_default())?;
        let reason = Operand::new("reason", &reason.to_string())?;
        let operation = NewOperation {
            code: operation::ALARM,
            moment: self.moment(params)?,
            operator,
            who: Operand::default(),
            values: [reason, Operand::default(), Operand::default()],
        };
        self.recorded(self.store.journal().add_operation(&operation))
    }

    pub(super) fn recorded(&self, seq: Result<i64, StoreError>) -> Result<Value, Fault> {
        // Also when it failed: the loop raises the alarm of a full store.
        reactor::wake_loop();
        let seq = seq?;
        Ok(json!({"seq": seq}))
    }

    /// When it happened: what the driver says, else now, else (the clock is not set) a
    /// moment that is counted back later.
    pub(super) fn moment(&self, params: &Params) -> Result<Moment, Fault> {
        if let Some(text) = params.text("time")? {
            return LocalTime::parse(&text).map(Moment::At).ok_or_else(|| {
                Params::complain("time", "is no time of the form YYYY-MM-DD hh:mm:ss")
            });
        }
        Ok(moment(&*self.clock))
    }

    fn user_get(&self, params: &Params) -> Result<Value, Fault> {
        let found = match (params.text("pin")?, params.text("card")?) {
            (Some(pin), _) => self.store.people().get(&Pin::new(&pin)?),
            (None, Some(card)) => self.store.people().by_card(card.trim_start_matches('0')),
            (None, None) => return Err(Params::complain("pin", "is missing, and so is card")),
        };
        let user = found?;
        Ok(user.map_or(Value::Null, |user| describe(&user)))
    }

    /// A page of the punches, for `punchd export`.
    fn export(&self, params: &Params) -> Result<Value, Fault> {
        let after = params.number("after", i64::MAX as u64)?.unwrap_or(0) as i64;
        let (rows, next) = self.store.journal().punches_after(after, ROWS_A_PAGE)?;
        let page: Vec<String> = rows.iter().map(csv::row).collect();
        Ok(json!({"next": next, "rows": page}))
    }

    /// Lists, retries or drops the rows that the server refuses.
    fn quarantine(&self, params: &Params) -> Result<Value, Fault> {
        let seq = params.number("seq", i64::MAX as u64)?.map(|seq| seq as i64);
        let done = match params.text("action")?.as_deref() {
            None | Some("list") => return Ok(json!(crate::status::quarantine(&self.store)?)),
            Some("retry") => self.store.quarantine().retry(seq)?,
            Some("drop") => self.store.quarantine().drop_rows(seq)?,
            Some(_) => return Err(Params::complain("action", "is none of list, retry, drop")),
        };
        reactor::wake_loop();
        Ok(json!({"rows": done}))
    }

    /// Adds a user on the terminal, or changes what is named of one who is there.
    fn user_put(&self, params: &Params) -> Result<Value, Fault> {
        let mut pairs = Vec::new();
        for key in USER_FIELDS {
            pairs.extend(params.text(key)?.map(|value| (key.to_owned(), value)));
        }
        let change = UserChange::from_fields(&Fields::from_pairs(pairs), self.language)?;
        let mut user = match self.store.people().get(&change.pin)? {
            Some(user) => user,
            None => {
                self.room_for_one()?;
                User::new(change.pin.clone())
            }
        };
        change.apply(&mut user);
        self.recorded(self.store.people().put(&user, Origin::Terminal))
    }

    /// Refuses when there are as many users as there may be.
    pub(super) fn room_for_one(&self) -> Result<(), Fault> {
        if self.store.people().count()? < self.most_users {
            return Ok(());
        }
        Err(Fault::new(FULL, format!("there are {} users already", self.most_users)))
    }

    /// The PIN of a call that enrols something. What is enrolled goes up, and a guest's does
    /// not: it would be lost.
    pub(super) fn resident(&self, params: &Params) -> Result<Pin, Fault> {
        let pin = Pin::new(&params.required("pin")?)?;
        match self.store.guests().get(&pin)? {
            None => Ok(pin),
            Some(_) => Err(Params::complain("pin", "is a guest's; user.put makes it a user's")),
        }
    }
}

/// Now: by the wall clock, or, while it is not set, on the monotonic clock of this boot.
pub fn moment(clock: &dyn Clock) -> Moment {
    Moment::of(clock.local(), clock.boot(), clock.monotonic())
}

/// What a driver says it provides. A service that this version does not know is passed over.
fn services(params: &Params) -> Result<Vec<Service>, Fault> {
    let names = match params.value("provides") {
        Value::Null => return Ok(Vec::new()),
        Value::Array(names) if names.len() <= MOST_SERVICES => names,
        _ => return Err(Params::complain("provides", "is no list of up to 32 names")),
    };
    let mut services = Vec::new();
    for name in names {
        let Value::String(name) = name else {
            return Err(Params::complain("provides", "holds something that is no name"));
        };
        match Service::named(&name) {
            Some(service) if !services.contains(&service) => services.push(service),
            Some(_) => {}
            None => log::warn!("a driver provides {:?}, which nobody asks for", clip(&name)),
        }
    }
    Ok(services)
}

pub(super) fn describe(user: &User) -> Value {
    json!({
        "pin": user.pin.as_str(),
        "name": user.name,
        "pri": user.privilege,
        "passwd": user.password,
        "card": user.card,
        "grp": user.group,
        "tz": user.time_zones,
        "verify": user.verify,
        "vicecard": user.vice_card,
    })
}
