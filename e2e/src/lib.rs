//! Tests that start both planes as real processes, and the layering test. There is no code to use here.
