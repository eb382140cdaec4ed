-- S9: renews the lease of an owner, ARGV[1].

renew_lease(ARGV[1])
