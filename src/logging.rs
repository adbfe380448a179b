//! (map of this module)
