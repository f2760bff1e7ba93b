//! The process's memory: jemalloc, told to ask for huge pages.
//!
//! A table of a million keys is read at random. In small pages nearly every look-up first misses the
//! processor's own table of pages, and in a virtual machine finding a page again takes longer than reading it.
//! Huge pages make the table fit; what they cost in memory is a few per cent.

#![expect(unsafe_code, reason = "jemalloc finds its settings by the name of a symbol")]

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Read by jemalloc before `main`; what `_RJEM_MALLOC_CONF` says in the environment counts over it.
// SAFETY: the symbol is jemalloc's own, of type `const char *`: a thin pointer to a string that ends in NUL.
#[unsafe(export_name = "_rjem_malloc_conf")]
static SETTINGS: &[u8; 11] = b"thp:always\0";
