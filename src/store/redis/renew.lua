-- Says that an owner, ARGV[1], is alive.

hear_of(ARGV[1])
