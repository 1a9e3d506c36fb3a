//! What a test does whenever a statement is about to run: the program can be made to die between any two.

use std::cell::RefCell;
use std::rc::Rc;

thread_local! {
    static HOOK: RefCell<Option<Rc<dyn Fn()>>> = const { RefCell::new(None) };
}

/// Calls this before every statement of this thread from now on, or nothing.
pub(crate) fn set(hook: Option<Rc<dyn Fn()>>) {
    HOOK.with(|it| it.replace(hook));
}

pub(super) fn call() {
    let hook = HOOK.with(|it| it.borrow().clone());
    if let Some(hook) = hook {
        hook();
    }
}
