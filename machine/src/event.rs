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

/// A primitive that is about to happen.
///
/// `object` is an address or any other number that stands for one object during one execution:
/// strategies may test it for equality only, or runs would differ between processes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct Event {
    /// The object, 0 for none.
    pub object: usize,
    /// What is done to it.
    pub access: Access,
}

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

impl Event {
    /// A point without an object.
    pub const NONE: Event = Event { object: 0, access: Access::None };

    /// An access to the object that lives at a reference.
    #[inline]
    pub fn on<T>(object: &T, access: Access) -> Event {
        Event { object: address(object), access }
    }

    /// Whether the order of the two can matter: same object, not two loads.
    #[inline]
    pub fn conflicts(self, other: Event) -> bool {
        self.object != 0
            && self.object == other.object
            && (self.access != Access::Read || other.access != Access::Read)
    }
}

/// The identity of an object during one execution.
#[inline]
pub(crate) fn address<T>(object: &T) -> usize {
    std::ptr::from_ref(object).addr()
}
