package sigma

func regexNeeds(regexTest) []literal { return nil }
