//! Memory that decoding a body takes, metered while it is decoded. The code that grows a list, a tree or a map
//! charges the meter before. Decoding stops where a body passes a limit or finds no memory. Serde passes no context
//! down to the types that it decodes, so the meter belongs to the thread while one body is decoded.

use std::cell::RefCell;

use serde::de;

use crate::config::Limits;
use crate::error::{Error, ErrorKind};
use crate::store::room::Room;

/// Decoded bytes that a body may take without a reservation, and the step by which its room grows.
const FREE_BYTES: u64 = 64 << 10;
const STEP_BYTES: u64 = 256 << 10;

thread_local! {
    static METER: RefCell<Option<Meter>> = const { RefCell::new(None) };
}

/// The meter of one body.
pub(super) struct Meter {
    limits: Limits,
    /// `None`: only the limits count.
    room: Option<Room>,
    taken: u64,
    granted: u64,
    fault: Option<Error>,
}

impl Meter {
    pub(super) fn new(limits: Limits, room: Option<Room>) -> Meter {
        Meter { limits, room, taken: 0, granted: FREE_BYTES, fault: None }
    }

    /// Runs `decode` with this meter.
    pub(super) fn run<T>(&mut self, decode: impl FnOnce() -> T) -> T {
        /// Takes the meter back, whatever happens.
        struct Lent<'m>(&'m mut Meter);
        impl Drop for Lent<'_> {
            fn drop(&mut self) {
                if let Some(meter) = METER.take() {
                    *self.0 = meter;
                }
            }
        }
        self.taken = 0;
        self.fault = None;
        let limits = self.limits.clone();
        let lent = std::mem::replace(self, Meter::new(limits, None));
        METER.set(Some(lent));
        let _lent = Lent(self);
        decode()
    }

    /// The reason why decoding stopped, if that was a limit or memory.
    pub(super) fn fault(&mut self) -> Option<Error> {
        self.fault.take()
    }

    /// The room, with what was taken for decoding.
    pub(super) fn into_room(self) -> Option<Room> {
        self.room
    }

    fn take(&mut self, bytes: u64) -> Result<(), Error> {
        self.taken = self.taken.saturating_add(bytes);
        if self.taken <= self.granted {
            return Ok(());
        }
        let more = (self.taken - self.granted).max(STEP_BYTES);
        if let Some(room) = &mut self.room {
            room.grow_blocking(more)?;
        }
        self.granted = self.granted.saturating_add(more);
        Ok(())
    }
}

/// Charges the meter with bytes that are about to be taken.
pub(super) fn take<E: de::Error>(bytes: usize) -> Result<(), E> {
    METER.with_borrow_mut(|meter| {
        let Some(meter) = meter else { return Ok(()) };
        meter.take(bytes as u64).map_err(|error| {
            let told = E::custom(error.message());
            meter.fault = Some(error);
            told
        })
    })
}

/// Gives back bytes that were charged and are freed.
pub(super) fn release(bytes: usize) {
    METER.with_borrow_mut(|meter| {
        if let Some(meter) = meter {
            meter.taken = meter.taken.saturating_sub(bytes as u64);
        }
    });
}

/// Runs `work`, and then frees the bytes that it charged.
pub(super) fn scratch<T>(work: impl FnOnce() -> T) -> T {
    let taken = || METER.with_borrow(|meter| meter.as_ref().map_or(0, |meter| meter.taken));
    let before = taken();
    let done = work();
    METER.with_borrow_mut(|meter| {
        if let Some(meter) = meter {
            meter.taken = before;
        }
    });
    done
}

/// A part of the limits; of the default ones where nothing is metered.
pub(super) fn limit<T>(of: impl FnOnce(&Limits) -> T) -> T {
    METER.with_borrow(|meter| match meter {
        Some(meter) => of(&meter.limits),
        None => of(&Limits::default()),
    })
}

/// Stops decoding for a limit that the body passes.
pub(super) fn passed<E: de::Error>(message: String) -> E {
    let told = E::custom(&message);
    METER.with_borrow_mut(|meter| {
        if let Some(meter) = meter {
            meter.fault = Some(Error::new(ErrorKind::Limit, message));
        }
    });
    told
}
