//! How much memory all flows together may use beyond what each may have anyway. Whoever wants a larger buffer
//! reserves it here first and goes on with the one it has where the budget is spent; nobody waits.

/// Bytes that may still be handed out.
#[derive(Debug)]
pub(super) struct Budget {
    limit: usize,
    used: usize,
}

impl Budget {
    /// A budget of `limit` bytes, all of them free.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, used: 0 }
    }

    /// Takes `bytes`, or nothing where they would go over the limit.
    #[must_use]
    pub(super) fn reserve(&mut self, bytes: usize) -> bool {
        match self.used.checked_add(bytes) {
            Some(used) if used <= self.limit => {
                self.used = used;
                true
            }
            _ => false,
        }
    }

    /// Gives back what [`Self::reserve`] took.
    pub(super) fn release(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.used, "more given back than was taken");
        self.used = self.used.saturating_sub(bytes);
    }

    /// Bytes taken now.
    pub(super) fn used(&self) -> usize {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let mut budget = Budget::new(100);
        assert!(budget.reserve(60));
        assert!(!budget.reserve(60));
        assert_eq!(budget.used(), 60);
        budget.release(60);
        assert!(budget.reserve(100));
        assert!(!budget.reserve(1));
    }

    #[test]
    fn a_request_that_overflows_is_refused() {
        let mut budget = Budget::new(usize::MAX);
        assert!(budget.reserve(10));
        assert!(!budget.reserve(usize::MAX));
    }
}
