//! What a task is about to do when it stops at a scheduling point.

/// The kind of a primitive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub enum Access {
    /// Nothing that others could notice.
    #[default]
    None,
    /// A load.
    Read,
    /// A store.
    Write,
    /// A read-modify-write, an unlock.
    Update,
    /// Taking a lock.
    Lock,
    /// Switching interrupts off or on, or sending one.
    Irq,
    /// `cpu_relax`: the task goes round a loop that waits for another CPU.
    Pause,
    /// `might_sleep`.
    MightSleep,
    /// `cond_resched`.
    Resched,
    /// The task went to sleep or spins on a lock.
    Block,
}

/// Every kind, in order.
const ALL: [Access; 10] = [
    Access::None,
    Access::Read,
    Access::Write,
    Access::Update,
    Access::Lock,
    Access::Irq,
    Access::Pause,
    Access::MightSleep,
    Access::Resched,
    Access::Block,
];

impl Access {
    /// Whether what it returns depends on what others did to the object.
    #[inline]
    pub fn reads(self) -> bool {
        matches!(self, Access::Read | Access::Update | Access::Lock)
    }

    /// Whether others can notice it.
    #[inline]
    pub fn writes(self) -> bool {
        matches!(self, Access::Write | Access::Update | Access::Lock)
    }
}

/// A primitive that is about to happen.
///
/// The object is an address or any other number (of 56 bits) that stands for one object during
/// one execution: strategies may test it for equality only, or runs would differ between
/// processes. One word, as it is copied at every switch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct Event(u64);

impl Event {
    /// A point without an object.
    pub const NONE: Event = Event::new(0, Access::None);

    /// What is done to an object, 0 for none.
    #[inline]
    pub const fn new(object: usize, access: Access) -> Event {
        Event((object as u64) << 8 | access as u64)
    }

    /// An access to the object that lives at a reference.
    #[inline]
    pub fn on<T>(object: &T, access: Access) -> Event {
        Event::new(address(object), access)
    }

    /// The object, 0 for none.
    #[inline]
    pub fn object(self) -> usize {
        (self.0 >> 8) as usize
    }

    /// What is done to it.
    #[inline]
    pub fn access(self) -> Access {
        ALL[usize::from(self.0 as u8)]
    }

    /// Whether the order of the two can matter: same object, not two loads.
    #[inline]
    pub fn conflicts(self, other: Event) -> bool {
        self.object() != 0
            && self.object() == other.object()
            && (self.access() != Access::Read || other.access() != Access::Read)
    }
}

/// The identity of an object during one execution.
#[inline]
pub(crate) fn address<T>(object: &T) -> usize {
    std::ptr::from_ref(object).addr()
}

#[cfg(test)]
mod tests {
    use super::{ALL, Event};

    #[test]
    fn an_event_keeps_what_it_is_made_of() {
        for access in ALL {
            let event = Event::new(0x7fff_dead_beef, access);
            assert_eq!((event.object(), event.access()), (0x7fff_dead_beef, access));
        }
    }
}
