/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * warm MEGABYTES: touches so much memory, in huge pages, and gives it back. In a virtual machine what is free may be
 * with its host; what was just given back is not yet, so that who comes next does not wait for it to be had anew.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t bytes = argc == 2 ? (size_t)strtoul(argv[1], NULL, 10) * 1000000 : 0;
	volatile char *at;

	if (!bytes) {
		fputs("usage: warm MEGABYTES\n", stderr);
		return 2;
	}
	at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED) {
		perror("warm");
		return 1;
	}
	(void)madvise((void *)(uintptr_t)at, bytes, MADV_HUGEPAGE);
	for (size_t i = 0; i < bytes; i += page)
		at[i] = 1;
	return 0;
}
