//! `register`: who a driver is, and what it provides.

use serde_json::{Value, json};

use super::context::MethodContext;
use super::drivers::{Driver, MOST_DRIVERS};
use super::error::MethodError;
use crate::driver_requests::Service;
use crate::protocol::foreign::{is_hidden, quoted};
use crate::rpc::{ErrorCode, Params, RpcError};

/// The version of the driver protocol.
const PROTOCOL: u64 = 1;
/// Longest name of a driver, in bytes.
const LONGEST_NAME: usize = 64;
/// Most services of one driver.
const MOST_SERVICES: usize = 32;

pub(super) fn register(
    context: &MethodContext,
    driver: &mut Driver,
    params: &Params,
) -> Result<Value, MethodError> {
    let name = params.required_text("name")?;
    if name.is_empty() || name.len() > LONGEST_NAME || name.contains(is_hidden) {
        return Err(RpcError::param("name", "must have 1 to 64 bytes of printable text").into());
    }
    let services = services(params)?;
    for service in &services {
        driver.roles.allow_service(*service)?;
    }
    if !driver.keep_place() {
        let message = format!("{MOST_DRIVERS} drivers are registered already");
        return Err(RpcError::new(ErrorCode::Busy, message).into());
    }
    let driver = &mut driver.connection;
    if driver.set_name(&name) {
        context.registrations.add(driver, &name);
    }
    for (service, before) in context.driver_requests.register(driver.id(), &name, &services) {
        let service = service.name();
        log::warn!(
            "two drivers provide {service}: requests go to {name} from now on, and no longer to {before}"
        );
    }
    Ok(json!({
        "protocol": PROTOCOL, "serial": context.serial, "version": env!("CARGO_PKG_VERSION")
    }))
}

/// What a driver says it provides.
fn services(params: &Params) -> Result<Vec<Service>, RpcError> {
    let names = match params.get("provides") {
        Value::Null => return Ok(Vec::new()),
        Value::Array(names) if names.len() <= MOST_SERVICES => names,
        _ => return Err(RpcError::param("provides", "must be a list of up to 32 names")),
    };
    let mut services = Vec::new();
    for name in names {
        let Value::String(name) = name else {
            return Err(RpcError::param("provides", "must be a list of names"));
        };
        match Service::from_name(name) {
            Some(service) if !services.contains(&service) => services.push(service),
            Some(_) => {}
            None => {
                let why = format!("has {}, which this version does not know", quoted(name));
                return Err(RpcError::param("provides", why));
            }
        }
    }
    Ok(services)
}
