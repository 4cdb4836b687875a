from oasjax.text_table import aligned


def test_names_stand_left_numbers_right_below_a_rule():
    assert aligned([["model", "joints"], ["a", "17"], ["longer one", "5"]]) == (
        "model       joints\n"
        "------------------\n"
        "a               17\n"
        "longer one       5"
    )  # fmt: skip


def test_a_column_that_holds_nothing_takes_no_room():
    assert aligned([["a", "", "b"], ["c", "", "1"]], left=2) == "a  b\n----\nc  1"
