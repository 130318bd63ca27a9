// ProcessPrng is all that Go's runtime needs of bcryptprimitives.dll, which
// Wine 8 lacks. For tests under Wine only.
__declspec(dllexport) int ProcessPrng(unsigned char *data, unsigned long long size) {
	unsigned long long word = 0;
	for (unsigned long long i = 0; i < size; i++) {
		if (i % 8 == 0)
			while (!__builtin_ia32_rdrand64_step(&word))
				;
		data[i] = (unsigned char)(word >> 8 * (i % 8));
	}
	return 1;
}
