"""Countries and their capitals: facts that a language model has read about, to ask it for in a form of our own."""

import hashlib

CAPITALS: dict[str, str] = dict(
    pair.split(": ")
    for pair in """
Albania: Tirana, Algeria: Algiers, Angola: Luanda, Argentina: Buenos Aires, Armenia: Yerevan, Australia: Canberra,
Austria: Vienna, Azerbaijan: Baku, Bahrain: Manama, Bangladesh: Dhaka, Belarus: Minsk, Belgium: Brussels, Belize:
Belmopan, Bhutan: Thimphu, Botswana: Gaborone, Brazil: Brasilia, Bulgaria: Sofia, Burkina Faso: Ouagadougou, Cambodia:
Phnom Penh, Cameroon: Yaounde, Canada: Ottawa, Chile: Santiago, China: Beijing, Colombia: Bogota, Costa Rica: San
Jose, Croatia: Zagreb, Cuba: Havana, Czechia: Prague, Denmark: Copenhagen, Dominican Republic: Santo Domingo, Ecuador:
Quito, Egypt: Cairo, El Salvador: San Salvador, Eritrea: Asmara, Estonia: Tallinn, Ethiopia: Addis Ababa, Fiji: Suva,
Finland: Helsinki, France: Paris, Gabon: Libreville, Georgia: Tbilisi, Germany: Berlin, Ghana: Accra, Greece: Athens,
Guatemala: Guatemala City, Guinea: Conakry, Guinea-Bissau: Bissau, Guyana: Georgetown, Haiti: Port-au-Prince,
Honduras: Tegucigalpa, Hungary: Budapest, Iceland: Reykjavik, India: New Delhi, Indonesia: Jakarta, Iran: Tehran,
Iraq: Baghdad, Ireland: Dublin, Italy: Rome, Jamaica: Kingston, Japan: Tokyo, Jordan: Amman, Kenya: Nairobi, Kuwait:
Kuwait City, Kyrgyzstan: Bishkek, Laos: Vientiane, Latvia: Riga, Lebanon: Beirut, Lesotho: Maseru, Liberia: Monrovia,
Lithuania: Vilnius, Madagascar: Antananarivo, Malawi: Lilongwe, Malaysia: Kuala Lumpur, Mali: Bamako, Malta: Valletta,
Mauritania: Nouakchott, Mauritius: Port Louis, Mexico: Mexico City, Moldova: Chisinau, Mongolia: Ulaanbaatar,
Montenegro: Podgorica, Morocco: Rabat, Mozambique: Maputo, Namibia: Windhoek, Nepal: Kathmandu, New Zealand:
Wellington, Nicaragua: Managua, Niger: Niamey, Nigeria: Abuja, North Korea: Pyongyang, North Macedonia: Skopje,
Norway: Oslo, Oman: Muscat, Pakistan: Islamabad, Panama: Panama City, Papua New Guinea: Port Moresby, Paraguay:
Asuncion, Peru: Lima, Philippines: Manila, Poland: Warsaw, Portugal: Lisbon, Qatar: Doha, Romania: Bucharest, Russia:
Moscow, Rwanda: Kigali, Saudi Arabia: Riyadh, Senegal: Dakar, Serbia: Belgrade, Sierra Leone: Freetown, Slovakia:
Bratislava, Slovenia: Ljubljana, Solomon Islands: Honiara, Somalia: Mogadishu, South Korea: Seoul, South Sudan: Juba,
Spain: Madrid, Sudan: Khartoum, Suriname: Paramaribo, Sweden: Stockholm, Switzerland: Bern, Tajikistan: Dushanbe,
Thailand: Bangkok, Togo: Lome, Trinidad and Tobago: Port of Spain, Tunisia: Tunis, Turkey: Ankara, Uganda: Kampala,
United Arab Emirates: Abu Dhabi, United Kingdom: London, United States: Washington, Uruguay: Montevideo, Uzbekistan:
Tashkent, Venezuela: Caracas, Vietnam: Hanoi, Zambia: Lusaka, Zimbabwe: Harare
""".replace("\n", " ")
    .strip()
    .split(", ")
)

CITIES: dict[str, str] = dict(
    pair.split(": ")
    for pair in """
Albania: Durres, Algeria: Oran, Angola: Lobito, Argentina: Rosario, Armenia: Gyumri, Australia: Melbourne, Austria:
Salzburg, Azerbaijan: Ganja, Bangladesh: Chittagong, Belarus: Brest, Belgium: Antwerp, Brazil: Sao Paulo, Bulgaria:
Plovdiv, Burkina Faso: Bobo-Dioulasso, Cambodia: Siem Reap, Cameroon: Douala, Canada: Toronto, Chile: Valparaiso,
China: Shanghai, Colombia: Medellin, Croatia: Split, Cuba: Santiago de Cuba, Czechia: Brno, Denmark: Aarhus, Ecuador:
Guayaquil, Egypt: Alexandria, Estonia: Tartu, Ethiopia: Dire Dawa, Finland: Turku, France: Marseille, Georgia: Batumi,
Germany: Munich, Ghana: Kumasi, Greece: Thessaloniki, Haiti: Cap-Haitien, Honduras: San Pedro Sula, Hungary: Debrecen,
India: Mumbai, Indonesia: Surabaya, Iran: Isfahan, Iraq: Basra, Ireland: Cork, Italy: Milan, Jamaica: Montego Bay,
Japan: Osaka, Kenya: Mombasa, Latvia: Daugavpils, Lebanon: Tripoli, Lithuania: Kaunas, Malaysia: Penang, Mali:
Timbuktu, Mexico: Guadalajara, Morocco: Casablanca, Mozambique: Beira, Nepal: Pokhara, New Zealand: Auckland,
Nicaragua: Leon, Niger: Agadez, Nigeria: Lagos, North Korea: Hamhung, Norway: Bergen, Oman: Salalah, Pakistan:
Karachi, Paraguay: Encarnacion, Peru: Cusco, Philippines: Cebu, Poland: Krakow, Portugal: Porto, Romania: Cluj,
Russia: Vladivostok, Rwanda: Butare, Saudi Arabia: Mecca, Senegal: Saint-Louis, Serbia: Nis, Slovakia: Kosice,
Slovenia: Maribor, South Korea: Busan, Spain: Barcelona, Sudan: Port Sudan, Sweden: Gothenburg, Switzerland: Zurich,
Thailand: Chiang Mai, Tunisia: Sfax, Turkey: Istanbul, Uganda: Entebbe, United Kingdom: Manchester, United States:
Chicago, Uruguay: Salto, Uzbekistan: Samarkand, Venezuela: Maracaibo, Vietnam: Da Nang, Zambia: Livingstone, Zimbabwe:
Bulawayo
""".replace("\n", " ")
    .strip()
    .split(", ")
)  # a city of each of these countries that is not its capital


def questions(countries: list[str]) -> list[str]:
    """Each country, asked in form."""
    return [f"Question: What is the capital of {country}?\nAnswer:" for country in countries]


def split(held_out: float = 0.3) -> tuple[list[str], list[str]]:
    """Countries to train on, and others to ask for: a hash of the name decides, the same for everybody.

    Args:
        held_out: about which part of them is not trained on.
    """
    part = {name: hashlib.sha256(name.encode()).digest()[0] / 256 for name in CAPITALS}
    return [name for name in CAPITALS if part[name] >= held_out], [name for name in CAPITALS if part[name] < held_out]
