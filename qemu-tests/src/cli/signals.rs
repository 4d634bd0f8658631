//! ctrl-C as an event among others.

use std::sync::mpsc::Sender;

use nix::sys::signal::{SigSet, Signal};

/// Takes the signals that ask a program to end away from their usual effect
/// and sends `event` for each. To be called before any other thread is
/// started: threads inherit what is taken away.
pub(crate) fn send_on_interrupt<T: Clone + Send + 'static>(events: Sender<T>, event: T) {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    if signals.thread_block().is_err() {
        // Then a signal ends the program, and the kernel ends the machine.
        return;
    }
    std::thread::spawn(move || {
        while signals.wait().is_ok() {
            if events.send(event.clone()).is_err() {
                return;
            }
        }
    });
}
