// Package qemu cuts the power of a whole computer: an arm64 machine in
// qemu-system-aarch64 with Debian's kernel, ext4 and the agent, whose disk is
// served from here over NBD.
//
// The [Disk] has what hurts most of real drives, a volatile write cache: a write
// is acknowledged at once and durable with the next flush only. A [Machine] is
// cut with SIGKILL; what was durable, and what was still in the cache, is left
// to the test, which decides sector by sector what of the latter survived.
package qemu
