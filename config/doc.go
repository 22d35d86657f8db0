// Package config reads config.toml, strictly: a key that is not known, a name
// that does not exist, a limit that contradicts another, each is refused with
// file, line, column and remedy, and all of them at once, because a person who
// edits this file stands beside a machine and has one try before the shift ends.
//
// cmd/edgeagent alone imports it and hands each room its own options. An
// accepted configuration is kept in the data directory ([Accept]) with
// temporary file, fsync, rename and fsync of the folder: after a kill -9 or a
// power cut the folder holds the whole old one or the whole new one, so that an
// agent whose file was broken while it was down still starts ([LastAccepted]).
package config
