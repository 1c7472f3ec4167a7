//! Pinning without handles: a caller that pins and unpins, and nothing else. For benchmarks.

use program::{Entry, Foll, Form, MmId, Op, Place, Span, Step};

use crate::gup::GupFlags;
use crate::gup_sink::Sink;
use crate::handle::Held;
use crate::unpin::Taken;
use crate::variants::Variant;
use crate::world::World;

/// How to pin.
#[derive(Clone, Copy, Debug)]
pub struct Pinning {
    /// Slow or fast.
    pub entry: Entry,
    /// FOLL_LONGTERM.
    pub longterm: bool,
    /// An array of pages, or ranges.
    pub form: Form,
}

/// The caller's memory, kept from one call to the next.
#[derive(Default)]
pub struct Buffers {
    held: Held,
    taken: Taken,
}

impl World {
    /// Pins a range for writing, in one call or, if that is the variant, in one a page, and unpins
    /// it again. How many pages that were.
    pub fn pin_and_unpin(&self, mm: MmId, span: Span, how: Pinning, buffers: &mut Buffers) -> u32 {
        let step = Step { cpu: 0, op: Op::Nop, place: Place::Normal, fail: None };
        let cx = self.context(0, &step);
        self.alone(|| {
            let Pinning { entry, longterm, form } = how;
            let unlockable = entry != Entry::Slow;
            let foll = Some(Foll::Pin);
            let flags = GupFlags { write: true, longterm, foll, unlockable, ..GupFlags::default() };
            let Buffers { held, taken } = buffers;
            held.clear();
            taken.clear();
            let sink: &mut dyn Sink = match form {
                Form::Pages => &mut held.pages,
                Form::Range => &mut held.ranges,
            };
            let got = if self.variant() == Variant::Vfio {
                self.vfio_pin_pages_remote_alone(&cx, mm, span, entry, flags, sink, false)?
            } else {
                self.gup_alone(&cx, mm, span, entry, flags, sink)?
            };
            if self.variant() == Variant::Vfio {
                for &page in &held.pages {
                    self.gup_put_folio(page, 1, Foll::Pin);
                }
            } else {
                taken.pages.extend(held.pages.iter().copied().map(Some));
                std::mem::swap(&mut taken.ranges, &mut held.ranges.list);
                self.unpin_alone(&cx, taken, Foll::Pin, form, false)?;
                std::mem::swap(&mut taken.ranges, &mut held.ranges.list);
            }
            Some(got.unwrap_or(0))
        })
    }
}
