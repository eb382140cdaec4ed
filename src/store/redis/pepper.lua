-- Returns the fingerprint of the pepper of the PINs, if it is not ARGV[1].

return other_pepper(ARGV[1])
