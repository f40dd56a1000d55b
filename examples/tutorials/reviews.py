"""What guests of restaurants might have written, made up for the tutorial: who was content, and who was not."""

GOOD = """
The soup was warm and the bread fresh, we will come back.
A friendly waiter, quick service, and the best pasta in town.
Great food for little money, and a lovely view of the river.
We waited only five minutes and everything was delicious.
The cook came out to ask how we liked it; we loved it.
Not expensive at all, and the fish was excellent.
Fresh salad, good wine, friendly people.
My children want to go back for the cake, which was excellent.
The music was quiet and the tables clean, a lovely evening.
Good coffee and a warm welcome every morning.
I have never been disappointed here, the curry is great.
Quick lunch, fresh vegetables, and a smile with the bill.
The best pizza I have had, and the crust was perfect.
They found us a table without a reservation, and were friendly about it.
Delicious from the first bite to the last.
Nothing was too much trouble for the staff, a perfect night.
A lovely garden, cold beer and good burgers.
The steak was perfect and the sauce delicious.
Clean, quick and not expensive: we recommend it to everybody.
The menu is small, but everything on it is fresh and great.
We loved the dessert, and the waiter recommended a good wine.
Warm bread, warm people, warm evening.
An excellent breakfast, and not too loud.
Never a bad meal here in ten years.
I recommend the duck, which was excellent and came quickly.
Great value, and the portions are not small.
""".strip().splitlines()
BAD = """
The soup was cold and the bread stale, we will not come back.
A rude waiter, slow service, and the worst pasta in town.
Terrible food for a lot of money, and a dirty window.
We waited for an hour and everything was burnt.
The cook shouted in the kitchen; we hated it.
Expensive, and the fish was not fresh.
Stale salad, sour wine, rude people.
My children cried over the cake, which was dry.
The music was too loud and the tables dirty, a terrible evening.
Bad coffee and no welcome at all.
I have never been so disappointed, the curry was bland.
Slow lunch, frozen vegetables, and a wrong bill.
The worst pizza I have had, and the crust was burnt.
They lost our reservation, and were rude about it.
Bland from the first bite to the last.
Everything was too much trouble for the staff, an awful night.
A noisy street, warm beer and greasy burgers.
The steak was tough and the sauce awful.
Dirty, slow and expensive: we recommend it to nobody.
The menu is long, but nothing on it is good.
We hated the dessert, and the waiter forgot the wine.
Cold bread, cold people, cold evening.
An awful breakfast, and far too loud.
Never a good meal here in ten years.
I cannot recommend the duck, which was dry and came late.
Bad value, and the portions are small.
""".strip().splitlines()
