//! The faults that only root can arrange: separate file systems, and processes of other users.

mod other_user;
mod small_disks;
