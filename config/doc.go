// Package config reads config.toml, strictly: a key that is not known, a name
// that does not exist, a limit that contradicts another, each is refused with
// file, line, column and remedy, and all of them at once, because a person who
// edits this file stands beside a machine and has one try before the shift ends.
//
// A configuration is made of several files: the first one, the files that it
// includes, and the spreadsheets that its devices name. They are put together
// into one tree ([Load]: include, templates and lists, tables of tags and
// texts), whose values know by one number in which file they stand. Only then
// is the tree read, key by key.
//
// cmd/edgeagent alone imports it and hands each room its own options. An
// accepted configuration is kept in the data directory ([Accept]) with
// temporary file, fsync, rename and fsync of the folder: after a kill -9 or a
// power cut the folder holds the whole old one or the whole new one, with every
// file that it was made of, so that an agent of which one was broken while it
// was down still starts ([LastAccepted]).
package config
