//! The course of one question through everything that the model wanted to see before it answered.

use kernsmith_core::CallClass;
use kernsmith_core::inspect::Inspection;

use crate::answer;
use crate::ask::Turn;
use crate::dialogue::Pending;
use crate::memory::Answered;
use crate::proposer::Llm;

/// What is left of a question's budget for evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowance {
    pub(crate) calls: usize,
    pub(crate) bytes: usize,
}

/// Where a question and what the model wanted to see for it stand.
pub(crate) struct Course<'a> {
    /// The last answer, where there is one.
    pub(crate) answer: Option<&'a Answered>,
    /// Evidence that was shown on the way.
    pub(crate) looked: Vec<Turn>,
    /// Where it goes on, and what is wanted for that.
    next: String,
    wishes: Vec<Inspection>,
    left: Allowance,
}

impl Allowance {
    pub(crate) const fn is_spent(self) -> bool {
        self.calls == 0 || self.bytes == 0
    }

    /// Counts one piece of evidence, and cuts it to what is left.
    pub(crate) fn take(&mut self, text: &str) -> String {
        self.calls = self.calls.saturating_sub(1);
        let mut end = text.len().min(self.bytes);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.bytes -= end;
        if end == text.len() {
            return text.to_owned();
        }
        self.bytes = 0;
        format!("{}\n(cut: {end} of {} bytes are shown)", &text[..end], text.len())
    }
}

impl Course<'_> {
    /// Puts evidence into a question that is asked at this course's end, or for the first time.
    pub(crate) fn go_on(self, mut pending: Pending) -> Box<Pending> {
        pending.place = self.next;
        pending.ask.turns.extend(self.looked);
        pending.wishes = self.wishes;
        pending.left = self.left;
        Box::new(pending)
    }

    /// The last answer, unless the model wants to see something first.
    pub(crate) fn settled(&self) -> Option<&Answered> {
        self.answer.filter(|answer| answer.class != CallClass::Inspects)
    }
}

impl Llm {
    /// Follows a question through everything that the model wanted to see: `place`, `place+1`, ….
    pub(crate) fn course(&self, place: &str) -> Course<'_> {
        let left = Allowance { calls: self.options.inspect_calls, bytes: self.options.inspect_bytes };
        let answer = self.memory.at(place);
        let mut course =
            Course { answer, looked: Vec::new(), next: place.to_owned(), wishes: Vec::new(), left };
        for number in 1.. {
            let Some(answer) = course.answer.filter(|answer| answer.class == CallClass::Inspects) else {
                break;
            };
            course.next = format!("{place}+{number}");
            let Some(later) = self.memory.at(&course.next) else {
                course.wishes = answer::read_requests(&answer.reply).unwrap_or_default();
                break;
            };
            let shown: usize = later.looks.iter().map(|look| look.text.len()).sum();
            course.left.calls = course.left.calls.saturating_sub(later.looks.len());
            course.left.bytes = course.left.bytes.saturating_sub(shown);
            course.looked.push(Turn::Looked(later.looks.clone()));
            course.answer = Some(later);
        }
        course
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_cut_to_what_is_left() {
        let mut left = Allowance { calls: 3, bytes: 10 };
        assert_eq!(left.take("1234567"), "1234567");
        assert_eq!((left.calls, left.bytes, left.is_spent()), (2, 3, false));
        assert_eq!(left.take("äöü"), "ä\n(cut: 2 of 6 bytes are shown)");
        assert!(left.is_spent());
    }
}
