//! The operation language of mm-lockstep and the vocabulary of what is compared.
//!
//! A [`Program`] is a machine [`Shape`] and phases of [`Step`]s. It has two forms, lossless both
//! ways: bytes, which fuzzing engines mutate, and text, which people read, write and keep. The
//! crate knows nothing of how any operation is implemented; both sides implement [`Model`].

pub mod arena;
pub mod codec;
pub mod device_mark;
pub mod digest;
pub mod edit;
pub mod expect;
pub mod family;
pub mod generate;
pub mod hmm;
pub mod kind;
pub mod mark;
pub mod model;
pub mod mutate;
pub mod object;
pub mod op;
pub mod outcome;
pub mod program;
pub mod rng;
mod scene;
mod scene_kinds;
pub mod schedule;
pub mod shape;
pub mod snapshot;
pub mod text;
pub mod validate;

pub use arena::Arena;
pub use codec::{DecodeError, Decoder, decode_strict};
pub use device_mark::DeviceMark;
pub use digest::{Birth, Name};
pub use expect::{Expect, Field, Target};
pub use family::Family;
pub use generate::{Campaign, generate};
pub use kind::Kind;
pub use mark::{Access, CollapseMark, Mark, Marked, Seen};
pub use model::{Call, Model, Replay};
pub use mutate::Mutator;
pub use object::Object;
pub use op::{
    Advice, AreaId, Backing, Device, Direction, Entry, FILE_PAGES, FILES, Fail, Foll, Form,
    HandleId, LockId, MigrationId, MmId, Mode, Op, Prot, Range, Report, Request, Select, Site,
    Step, TaskId, Uffdio, on_disk, written,
};
pub use outcome::{Errno, Outcome, Ret};
pub use program::{Layout, Phase, Program, Span};
pub use rng::SplitMix64;
pub use schedule::{MAX_TASK, Schedule, Slice};
pub use shape::{Faults, Place, Preempt, Shape, Thp};
pub use snapshot::{
    EntryKind, EntryView, FolioView, MigratePfn, MmView, ObjectId, PageRef, Snapshot, Uffd,
    VmaFlags, VmaView,
};
pub use validate::{Fault, Invalid};
