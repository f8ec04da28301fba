/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The frame of a CUnit test program: one program is one suite.
 *
 *	static void test_add(void)
 *	{
 *		CU_ASSERT_EQUAL(1 + 1, 2);
 *	}
 *	UNIT_MAIN("base", { "add", test_add }, { "sub", test_sub })
 *
 * The program exits 0 if every assertion of every test held, and there was at least one.
 */
#ifndef VIDAS_TESTS_UNIT_H
#define VIDAS_TESTS_UNIT_H

#include <CUnit/Basic.h>
#include <stdio.h>

struct unit_case {
	const char *name;
	void (*run)(void);
};

static inline int unit_run(const char *suite_name, const struct unit_case *cases, size_t count)
{
	CU_pSuite suite;
	unsigned int failed, asserted;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	suite = CU_add_suite(suite_name, NULL, NULL);
	for (size_t i = 0; suite && i < count; i++)
		if (!CU_add_test(suite, cases[i].name, cases[i].run))
			suite = NULL;
	if (!suite) {
		fprintf(stderr, "cunit: %s\n", CU_get_error_msg());
		return 1;
	}
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_failure_records();
	asserted = CU_get_number_of_asserts();
	CU_cleanup_registry();
	return failed || !asserted;
}

#define UNIT_MAIN(suite_name, ...)                                                    \
	int main(void)                                                                \
	{                                                                             \
		static const struct unit_case cases[] = { __VA_ARGS__ };              \
		return unit_run(suite_name, cases, sizeof(cases) / sizeof(cases[0])); \
	}

#endif
