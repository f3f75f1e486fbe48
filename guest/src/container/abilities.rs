//! What this host lets containers have. In a machine of ours that is everything; where `holmd` is a process of
//! somebody else's host, limits that cannot be set are left out with a warning instead of failing every start.

use std::collections::BTreeSet;

/// What can be asked of this host. Probed once, when the engine starts.
#[derive(Clone, Debug)]
pub struct HostAbilities {
    /// Controllers that containers' cgroups get (`cgroup.subtree_control` of the root).
    pub controllers: BTreeSet<String>,
}
