"""Right answers in other styles to the exercises of lesson 03."""

from right_answers.right import Right

RIGHT: list[Right] = []
