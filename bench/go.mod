module edgeagent/bench

go 1.26.0

require (
	edgeagent v0.0.0
	github.com/mattn/go-sqlite3 v1.14.53
	github.com/mikestefanello/backlite v0.6.0
	maragu.dev/goqite v0.4.0
)

require (
	github.com/google/uuid v1.6.0 // indirect
	go.etcd.io/bbolt v1.5.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace edgeagent => ../
