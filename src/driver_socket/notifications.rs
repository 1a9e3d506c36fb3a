//! `changed` and `message`: what drivers are told without asking.

use serde_json::json;

use super::context::MethodContext;
use super::describe;
use super::drivers::{Driver, Drivers};
use crate::driver_requests::Service;
use crate::rpc::DriverMethod;
use crate::store::Seq;

/// Messages that are sent together; the next when the driver has read these.
const MESSAGES_AT_ONCE: usize = 16;

/// Whether a driver is to be told something now.
pub(super) fn are_due(context: &MethodContext, drivers: &Drivers) -> bool {
    let last = context.store.changes().last();
    drivers
        .iter()
        .any(|driver| driver.subscription.has_changes(last) || may_send_messages(driver, last))
}

/// Tells every driver what is new for it.
pub(super) fn send(context: &MethodContext, drivers: &mut Drivers) {
    let last = context.store.changes().last();
    for driver in drivers.iter_mut() {
        subscribe_to_messages(context, driver, last);
        if driver.subscription.has_changes(last) {
            driver.subscription.changed_after = None;
            driver.connection.notify(&DriverMethod::Changed.notification(&json!({"upto": last})));
        }
        if may_send_messages(driver, last) {
            send_messages(context, driver, last);
        }
    }
}

/// A driver that provides messages is told of those that are written from now on.
fn subscribe_to_messages(context: &MethodContext, driver: &mut Driver, last: Seq) {
    let shows = context.driver_requests.provides(driver.connection.id(), Service::Message);
    let after = &mut driver.subscription.messages_after;
    *after = if shows { after.or(Some(last)) } else { None };
}

fn may_send_messages(driver: &Driver, last: Seq) -> bool {
    driver.subscription.may_have_messages(last) && driver.connection.unread() == 0
}

fn send_messages(context: &MethodContext, driver: &mut Driver, last: Seq) {
    let after = driver.subscription.messages_after.unwrap_or(last);
    let messages = context.store.changes().messages_after(after, MESSAGES_AT_ONCE);
    let messages = messages.unwrap_or_else(|error| {
        log::error!("new messages were not sent to a driver: {error}");
        Vec::new()
    });
    for (_, entry) in &messages {
        let params = describe::message(entry);
        driver.connection.notify(&DriverMethod::Message.notification(&params));
    }
    let is_all = messages.len() < MESSAGES_AT_ONCE;
    let sent = messages.last().map_or(last, |(seq, _)| *seq);
    driver.subscription.messages_after = Some(if is_all { last } else { sent });
}
