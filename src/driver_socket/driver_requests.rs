//! What punchd asks of drivers: `enroll`, `unlock`, `unalarm`, `cancel`.

use serde_json::{Value, json};

use super::connection::Connection;
use super::context::MethodContext;
use super::driver_answers;
use super::drivers::Drivers;
use crate::driver_requests::{DriverId, DriverRequest, Service};
use crate::reactor;
use crate::rpc::{DriverMethod, Response};

/// Sends the requests that are due, and gives up those whose time is over.
pub(super) fn send(context: &MethodContext, drivers: &mut Drivers) {
    let requests = &context.driver_requests;
    let now = context.clock.monotonic();
    while let Some(late) = requests.next_timed_out(now) {
        let params = json!({"id": late.id});
        notify(drivers, late.driver, &DriverMethod::Cancel.notification(&params));
        reactor::wake_loop();
    }
    while let Some(sent) = requests.next_to_send(now) {
        let (method, params) = describe(&sent.request);
        notify(drivers, sent.driver, &method.request(sent.id, &params));
    }
}

fn notify(drivers: &mut Drivers, driver: DriverId, line: &str) {
    if let Some(driver) = drivers.get_mut(driver) {
        driver.connection.notify(line);
    }
}

/// Method and parameters of a request.
fn describe(request: &DriverRequest) -> (DriverMethod, Value) {
    let (enroll, name) = match request {
        DriverRequest::Unlock => return (DriverMethod::Unlock, json!({})),
        DriverRequest::Unalarm => return (DriverMethod::Unalarm, json!({})),
        DriverRequest::Enroll { enroll, name } => (enroll, name),
    };
    let mut params = json!({
        "pin": enroll.pin.as_str(),
        "kind": Service::to_enroll(enroll.sought).name(),
        "retry": enroll.retry,
        "overwrite": enroll.overwrite,
    });
    if let Some(number) = enroll.sought.number() {
        // Both words, as for answers.
        (params["number"], params["no"]) = (number.into(), number.into());
    }
    if !name.is_empty() {
        params["name"] = name.as_str().into();
    }
    if let Some(card) = &enroll.card {
        params["card"] = card.as_str().into();
    }
    (DriverMethod::Enroll, params)
}

/// Takes the response of a driver. One to a request that it was not sent is ignored.
pub(super) fn on_response(context: &MethodContext, driver: &mut Connection, response: Response) {
    let sent = response.id.as_u64().and_then(|id| context.driver_requests.sent(driver.id(), id));
    let Some(sent) = sent else {
        driver.on_unexpected_response();
        return;
    };
    let answer = driver_answers::interpret(context, &sent.request, response.result);
    context.driver_requests.set_answer(sent.id, answer);
    reactor::wake_loop();
}

/// A driver that has disconnected provides nothing any longer, and answers nothing.
pub(super) fn remove_driver(context: &MethodContext, driver: DriverId) {
    if context.driver_requests.remove_driver(driver) {
        reactor::wake_loop();
    }
}
