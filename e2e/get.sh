# get.sh is read by what installs things: functions that outlast a slow server.
# again tries five times what asks somebody else's server, which may be slow or
# answer once with an error.
again() {
	for wait in 2 5 15 30; do
		"$@" && return
		echo "setup: $1 did not succeed; again in $wait s" >&2
		sleep "$wait"
	done
	"$@"
}
# get installs packages; another program may hold apt's lock for a while.
get() {
	local patient=(-o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 -o APT::Update::Error-Mode=any)
	apt-get "${patient[@]}" update -qq &&
		apt-get "${patient[@]}" install -y -qq --no-install-recommends "$@" >/dev/null
}
